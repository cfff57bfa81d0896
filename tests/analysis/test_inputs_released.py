"""The paper's release is read as it lies, its traps included; what is not there is said in one line."""

from __future__ import annotations

import json

import pytest

from tailwag.analysis.inputs import Release, join, read_accuracies, read_frequencies
from tailwag.analysis.inputs.json_files import read_json
from tailwag.errors import BadInput, NotFound


@pytest.fixture(scope="session")
def release(data) -> Release:
    return Release(data / "data" / "paper")


@pytest.fixture
def made(tmp_path) -> Release:
    """A release of two test sets, one model, three searches."""
    write(tmp_path, "search_counts/pets_p_q_rampp0.7_search_counts.json", {"cat": 5, "dog": 0})
    write(tmp_path, "search_counts/pets_p_q_integrated_tlemmatized_i0.7_search_counts.json", {"cat": 3, "dog": 0})
    write(tmp_path, "search_counts/pets_p_q_integrated_tlemmatized_i0.5_search_counts.json", {"cat": 4, "dog": 1})
    write(tmp_path, "search_counts/pets_p_q_lemmatized_search_counts.json", {"cat": 9, "dog": 8})
    entry = {"full": 40.0, "classwise": {"cat": 70.0, "dog": 10.0}}
    models = {"backboneRN50_pretrainedp_q": entry, "backboneRN50x4_pretrainedp_q": entry}
    write(tmp_path, "zero_shot_evaluations/pets_class_results.json", models)
    write(tmp_path, "zero_shot_evaluations/odd_class_results.json", {"backboneRN50x4_pretrainedp_q": entry})
    found = {"backboneRN50_pretrainedp_q": {"full": 0.5, "conceptwise": {"cat": 0.25, "": 0.75}}}
    write(tmp_path, "retrieval_evaluations/coco_t2i_k=10_results.json", found)
    return Release(tmp_path)


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_there_is_is_read_from_names(made):
    assert made.pretrainings() == ("p_q",)
    assert made.test_sets() == ("odd", "pets", "coco")
    assert made.test_sets("retrieval") == ("coco",)
    assert made.models("p_q") == ("RN50", "RN50x4")
    assert made.models("p_q", "retrieval") == ("RN50",)
    assert made.thresholds("p_q") == (0.5, 0.7)
    assert made.thresholds("p_q", "caption") == ()


def test_percents_and_fractions_both_come_out_as_shares(made):
    assert made.accuracies("p_q", "RN50", sets=["pets"]).table["value"].tolist() == [0.7, 0.1]
    retrieval = made.accuracies("p_q", "RN50", task="retrieval")
    assert retrieval.table[["concept", "metric", "value"]].values.tolist() == [["cat", "text-to-image recall@10", 0.25]]
    assert [(e.name, e.reason) for e in retrieval.exclusions] == [("", "a concept without a name")]
    assert made.whole_set(sets=["pets"]).table[["concept", "value"]].values.tolist() == [["", 0.4], ["", 0.4]]


def test_a_model_is_matched_whole_and_a_set_without_it_is_listed(made):
    found = made.accuracies("p_q", "RN50")
    assert set(found.table["task"]) == {"pets"}
    assert [(e.source, e.name) for e in found.exclusions] == [("odd_class_results.json", "RN50/p_q")]
    with pytest.raises(NotFound, match="no model 'RN5' of 'p_q', but RN50, RN50x4; did you mean 'RN50'"):
        made.accuracies("p_q", "RN5")
    with pytest.raises(NotFound, match="no models of 'cc3m'; it has those of p_q"):
        made.accuracies("cc3m")


def test_counts_by_side_and_threshold(made):
    assert made.frequencies("p_q").table["count"].tolist() == [3, 0]
    assert made.frequencies("p_q", threshold=0.5).table["count"].tolist() == [4, 1]
    assert made.frequencies("p_q", "caption", threshold=0.6).table["count"].tolist() == [9, 8]
    assert {e.name for e in made.frequencies("p_q", "image").exclusions} == {"odd", "coco"}
    with pytest.raises(NotFound, match="no joint counts of 'p_q' at threshold 0.6; there are those at 0.5, 0.7"):
        made.frequencies("p_q", threshold=0.6)
    with pytest.raises(NotFound, match="no counts of 'cc3m'; it has p_q"):
        made.frequencies("cc3m")
    with pytest.raises(NotFound, match="for test set 'coco'; it has those of pets"):
        made.frequencies("p_q", sets=["coco"])
    with pytest.raises(BadInput, match="no side 'text'; there are image, caption, joint"):
        made.frequencies("p_q", "text")


def test_what_is_asked_wrongly_is_said(made, tmp_path):
    with pytest.raises(NotFound, match="no folder"):
        Release(tmp_path / "nothing")
    with pytest.raises(NotFound, match="no folder 'search_counts'"):
        Release(tmp_path / "search_counts")
    with pytest.raises(NotFound, match="no class evaluations of test set 'cub'; it has those of odd, pets"):
        made.accuracies("p_q", sets=["cub"])
    with pytest.raises(NotFound, match="no evaluations named …_simple_results.json"):
        made.accuracies("p_q", prompts="simple")
    with pytest.raises(BadInput, match="no prompts 'plain' for classification; there are class, simple, ensemble"):
        made.accuracies("p_q", prompts="plain")
    with pytest.raises(BadInput, match="no task 'sorting'"):
        made.accuracies("p_q", task="sorting")
    with pytest.raises(NotFound, match="no misalignment of 'p_q'; it has none"):
        made.misalignment("p_q")
    with pytest.raises(NotFound, match="let_it_wag_class_list.txt"):
        made.let_it_wag()


def test_planted_faults_are_refused(made, tmp_path):
    counts = "search_counts/pets_p_q_rampp0.7_search_counts.json"
    for content, message in (
        ('{"cat": 5, "cat": 6}', "the key 'cat' stands twice"),
        ('{"cat": -5}', "'cat' has the count -5"),
        ('{"cat": 5.5}', "'cat' has the count 5.5"),
        ('{"cat": true}', "'cat' has the count True"),
        ("[1]", "no object of counts"),
        ("{", "is no JSON"),
    ):
        write(tmp_path, counts, content)
        with pytest.raises(BadInput, match=message):
            Release(tmp_path).frequencies("p_q", "image")
    results = "zero_shot_evaluations/pets_class_results.json"
    for content, message in (
        ({"RN50": {}}, "not of the form backbone"),
        ({"backboneRN50_pretrainedp_q": {"full": 1}}, "no object 'classwise'"),
        ({"backboneRN50_pretrainedp_q": {"classwise": {"cat": 101.0}}}, "numbers from 0 to 100"),
        ({"backboneRN50_pretrainedp_q": {"classwise": {"cat": None}}}, "'cat' has the value None"),
        ('{"backboneRN50_pretrainedp_q": {"classwise": {"cat": NaN}}}', "'cat' has the value nan"),
    ):
        write(tmp_path, results, content)
        with pytest.raises(BadInput, match=message):
            Release(tmp_path).accuracies("p_q", "RN50", sets=["pets"])


def test_a_file_that_changed_is_read_again(tmp_path):
    path = write(tmp_path, "a.json", {"a": 1})
    assert read_json(path) == {"a": 1}
    write(tmp_path, "a.json", {"a": 1, "b": 2})
    assert read_json(path) == {"a": 1, "b": 2}


def test_single_files_of_the_release_pass_the_same_door(made):
    folder = made.folder
    found = read_accuracies(folder / "zero_shot_evaluations" / "pets_class_results.json")
    assert sorted(set(found.table["model"])) == ["RN50", "RN50x4"]
    counted = read_frequencies(folder / "search_counts" / "pets_p_q_rampp0.7_search_counts.json")
    assert len(join(found, counted)) == 4
    with pytest.raises(BadInput, match="the release has percent there: leave --values fraction out"):
        read_accuracies(folder / "zero_shot_evaluations" / "pets_class_results.json", values="fraction")


@pytest.mark.photos
@pytest.mark.parametrize(
    ("pretraining", "joint", "image", "caption"),
    [
        ("cc3m", 2477, 1091, 1325),
        ("cc12m", 1966, 970, 1066),
        ("yfcc15m", 2058, 946, 852),
        ("laion400m", 1740, 473, 849),
    ],
)
def test_the_published_numbers_of_zero_counts(release, pretraining, joint, image, caption):
    for side, zeros, concepts in (("joint", joint, 4469), ("image", image, 4469), ("caption", caption, 3469)):
        sets = [one for one in release.test_sets("classification") if side != "caption" or one != "imagenet-sketch"]
        table = release.frequencies(pretraining, side, sets=sets).table
        assert (len(table), int((table["count"] == 0).sum())) == (concepts, zeros)


@pytest.mark.photos
def test_every_class_of_the_release_meets_its_count(release):
    for pretraining in ("cc3m", "laion400m"):
        points = join(release.accuracies(pretraining), release.frequencies(pretraining, "joint", task="classification"))
        assert points.exclusions == ()
        assert set(points.table.groupby("model").size()) == {4469}
    table = points.table[points.table["task"] == "cifar10"]
    assert "airplane" in set(table["concept"])


@pytest.mark.photos
def test_cocos_concept_without_a_name_is_listed_and_only_that(release):
    points = join(
        release.accuracies("cc3m", "RN50", task="retrieval"), release.frequencies("cc3m", "image", task="retrieval")
    )
    assert len(points) == 712 + 233
    assert [(e.name, e.reason) for e in points.exclusions] == [("", "a concept without a name")] * 2


@pytest.mark.photos
@pytest.mark.parametrize(
    ("pretraining", "pairs", "of_set", "of_rows"),
    [
        ("cc3m", 557_683, 16.81, 17.87),
        ("cc12m", 2_143_784, 17.26, 21.23),
        ("yfcc15m", 5_409_248, 36.49, 39.34),
        ("laion400m", 21_996_097, 5.31, 7.04),
        ("laion_aesthetics", 23_104_076, 14.34, 18.62),
    ],
)
def test_the_published_misalignment(release, pretraining, pairs, of_set, of_rows):
    found = release.misalignment(pretraining)
    assert found.pairs == pairs
    assert (round(100 * found.share_of_set, 2), round(100 * found.share_of_rows_with_hits, 2)) == (of_set, of_rows)


@pytest.mark.photos
def test_let_it_wag(release):
    found = release.let_it_wag()
    assert len(found.classes) == 290
    assert found.classes[0] == "A300B4"
    assert found.accuracies.table.groupby(["model", "pretraining"]).size().tolist() == [290] * 40
    assert set(found.accuracies.table["concept"]) == set(found.classes)
