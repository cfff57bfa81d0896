"""Lists of concepts that others wrote: ImageNet's classes, JSON files of counts and accuracies, nouns of captions."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tailwag.errors import BadInput
from tailwag.main import group
from tailwag.retrieval.concept_file import format_concepts, parse_concepts
from tailwag.retrieval.concepts import Concept, ConceptSet, find_mistakes, fold, load_concepts, open_templates
from tests.corpora import make_corpus, random_unit


def write(folder, value, name="names.json"):
    path = folder / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_imagenet_has_a_thousand_names_in_open_clips_order():
    from tailwag.embed.open_clip_loading import import_open_clip

    imagenet, names = load_concepts("imagenet"), import_open_clip().IMAGENET_CLASSNAMES
    assert len(imagenet) == 1000
    assert [place for place, name in enumerate(names) if imagenet.names[place] != name] == [744, 836]
    assert len(open_templates(imagenet.templates)) == 80


def test_what_imagenet_names_otherwise_is_told():
    imagenet = load_concepts("imagenet")
    assert (imagenet.names[657], imagenet.names[744]) == ("missile", "projectile")
    assert (imagenet.names[836], imagenet.names[837]) == ("sunglass", "sunglasses")
    assert len(imagenet.notes) == 2
    assert "744" in imagenet.notes[0]


def test_two_classes_of_one_name_that_nobody_has_told_apart_are_refused(monkeypatch):
    from tailwag.embed.open_clip_loading import import_open_clip

    names = [*import_open_clip().IMAGENET_CLASSNAMES]
    names[5] = names[4]
    monkeypatch.setattr(import_open_clip(), "IMAGENET_CLASSNAMES", names)
    with pytest.raises(BadInput, match="is the same name as"):
        load_concepts("imagenet")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"red_panda": 3, "quoll": 0}, ("red_panda", "quoll")),
        (["quoll", "red panda"], ("quoll", "red panda")),
        ({"dataset": "x", "metrics": {"acc1": 0.5}, "classnames": ["b", "a"]}, ("b", "a")),
        (
            {"one": {"full": 1.0, "classwise": {"b": 1, "a": 2}}, "two": {"classwise": {"a": 1, "c": 3}}},
            ("b", "a", "c"),
        ),
        ({"one": {"full": 1.0, "conceptwise": {"man": 0.5}}}, ("man",)),
    ],
)
def test_names_are_read_from_every_layout(tmp_path, value, expected):
    loaded = load_concepts(write(tmp_path, value))
    assert loaded.names == expected
    assert loaded.name == "names"
    assert loaded.notes == ()


def test_templates_of_clip_benchmark_are_taken(tmp_path):
    loaded = load_concepts(write(tmp_path, {"classnames": ["a"], "templates": ["a photo of {c}.", "{c}"]}))
    assert loaded.templates == ("a photo of {}.", "{}")


def test_names_that_are_left_out_are_told(tmp_path):
    loaded = load_concepts(write(tmp_path, {"hot_air balloon": 1, "": 0, "Hot-Air Balloon": 2}))
    assert loaded.names == ("hot_air balloon",)
    assert loaded.notes == (
        "an empty name was left out",
        "'Hot-Air Balloon' was left out: it is the same name as 'hot_air balloon'",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("3", "in a form that is known"),
        ('{"a": {"b": 1}}', "in a form that is known"),
        ("[1]", "in a form that is known"),
        ("[]", "names no concept"),
        ('{"": 1}', "names no concept"),
    ],
)
def test_a_file_without_names_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_concepts(path)
    assert "\n" not in str(caught.value)


texts = st.text(min_size=1, max_size=12)
concepts = st.builds(
    Concept,
    name=texts,
    synonyms=st.lists(texts, max_size=2).map(tuple),
    templates=st.sampled_from([None, "plain", ("a {}", 'the "{}"')]),
    definition=st.text(max_size=20),
    images=st.sampled_from([(), (Path("a folder/one.jpg"),)]),
    family=st.sampled_from([None, "kind"]),
)


@given(st.lists(concepts, min_size=1, max_size=4).filter(lambda some: not list(find_mistakes(some, "plain"))), texts)
def test_a_set_that_is_written_is_read_again(some, name):
    asked = ConceptSet(name, tuple(some), ("{} now",), "what it is")
    assert parse_concepts(format_concepts(asked), "text", Path(), "other") == asked


def test_notes_are_written_as_comments():
    text = format_concepts(ConceptSet("one", (Concept("a"),), notes=("an empty name was left out",)))
    assert text.startswith("# an empty name was left out\n")
    assert tomllib.loads(text)["concept"] == [{"name": "a"}]


def invoke(*arguments):
    return CliRunner().invoke(group, [str(one) for one in arguments])


def test_the_nouns_of_a_corpus_become_a_concept_set(tmp_path):
    captions = ["a dog", "two dogs", "a cat and a dog", "the cat"]
    make_corpus(tmp_path / "db", random_unit(4, 8), name="pets", captions=captions)
    for ending in ("toml", "txt"):
        path = tmp_path / f"nouns.{ending}"
        told = invoke("nouns", "pets", "--db", tmp_path / "db", "--at-least", 2, "--out", path)
        assert told.exit_code == 0, told.output
        assert load_concepts(path).names == ("dog", "cat")
    listed = invoke("nouns", "pets", "--db", tmp_path / "db", "--at-least", 3)
    assert listed.output.splitlines()[1].split() == ["dog", "3", "3"]
    assert "1 more are in fewer" in listed.output
    answer = json.loads(invoke("nouns", "pets", "--db", tmp_path / "db", "--at-least", 3, "--json").output)
    assert answer["nouns"] == [{"noun": "dog", "captions": 3, "images": 3}]
    assert answer["rarer"] == 1


def test_nouns_can_be_written_in_two_ways_only(tmp_path):
    make_corpus(tmp_path / "db", random_unit(1, 8), name="pets", captions=["a dog"])
    assert invoke("nouns", "pets", "--db", tmp_path / "db", "--out", tmp_path / "n.csv").exit_code == 2
    assert invoke("nouns", "pets", "--db", tmp_path / "db", "--at-least", 0).exit_code == 2


@pytest.mark.photos
def test_every_released_count_file_is_a_list_of_concepts(data):
    folder = data / "data/paper/search_counts"
    for path in sorted(folder.glob("*_cc3m_rampp0.7_search_counts.json")):
        loaded = load_concepts(path)
        assert len(loaded) + len(loaded.notes) == len(json.loads(path.read_text("utf-8")))
    assert len(load_concepts(folder / "coco_cc3m_rampp0.7_search_counts.json").notes) == 1
    released = load_concepts(folder / "imagenet_cc3m_rampp0.7_search_counts.json")
    assert set(map(fold, released.names)) == set(map(fold, load_concepts("imagenet").names))


@pytest.mark.photos
def test_released_accuracies_are_a_list_of_concepts(data):
    assert len(load_concepts(data / "data/paper/zero_shot_evaluations/cub_class_results.json")) == 200
    assert len(load_concepts(data / "data/paper/retrieval_evaluations/coco_t2i_k=10_results.json")) == 712


def test_what_a_set_leaves_out_is_told_by_every_command_that_takes_it(tmp_path):
    make_corpus(tmp_path / "db", random_unit(2, 8), name="pets", captions=["a dog", "a cat"])
    path = write(tmp_path, {"dog": 1, "Dog": 2, "": 3})
    told = invoke("captions", "pets", "--db", tmp_path / "db", "--concepts", path, "--json")
    assert told.exit_code == 0, told.output
    assert "tailwag: names: 'Dog' was left out: it is the same name as 'dog'" in told.stderr
    assert "tailwag: names: an empty name was left out" in told.stderr
