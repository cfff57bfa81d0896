"""`tailwag evaluate`: one accuracy a concept, in the table that joins with counts; from a drawn world to points."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tailwag.analysis.inputs import join, read_accuracies, read_frequencies
from tailwag.benchmarks.caption_retrieval import retrieval_recall
from tailwag.benchmarks.world.drawing import draw_scene, jpeg_bytes, sprite_bank
from tailwag.benchmarks.world.scenes import SceneSampler
from tailwag.benchmarks.world.shards import WorldPlan, make_world
from tailwag.benchmarks.world.vocabulary import BACKGROUNDS
from tailwag.benchmarks.zero_shot import zero_shot_accuracy
from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.errors import BadInput
from tailwag.main import main
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.prototypes import prototypes_from_texts

from ..corpora import make_corpus, make_prototypes, make_space, random_unit, rows_table


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A database with a world of long-tailed pairs, and a balanced test set whose labels are backgrounds."""
    folder = tmp_path_factory.mktemp("evaluate")
    encoder = Encoder.load("tailwag:world", device="cpu")
    make_world(WorldPlan(300, seed=3, exponent=1.0, omit=0.2), folder / "world", workers=1)
    run_embedding(plan_embedding([str(folder / "world")], folder / "db", "pairs"), encoder)
    bank, sampler = sprite_bank("evaluated"), SceneSampler()
    for number in range(120):
        rng = random.Random(f"evaluated/{number}")
        scene = sampler.sample(rng, 1)
        path = folder / "labelled" / scene.background.replace(" ", "_") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg_bytes(draw_scene(scene, bank, rng)))
    run_embedding(plan_embedding([str(folder / "labelled")], folder / "db", "backgrounds"), encoder)
    concepts = "\n".join(["[[concept]]\nname = " + json.dumps(name) for name in BACKGROUNDS])
    (folder / "backgrounds.toml").write_text('name = "backgrounds"\n' + concepts + "\n")
    return folder


@pytest.fixture
def tailwag(world, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(world / "db")])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_from_a_drawn_world_to_points(tailwag, world, tmp_path):
    concepts = world / "backgrounds.toml"
    told = tailwag("count", "pairs", "--concepts", concepts, "--threshold", 0.2, "--csv", tmp_path / "counts.csv")
    assert told[0] == 0, told[2]
    told = tailwag("evaluate", "backgrounds", "--concepts", concepts, "--out", tmp_path / "accuracies.csv")
    assert told[0] == 0, told[2]
    assert "wrote" in told[2]

    accuracies = read_accuracies(tmp_path / "accuracies.csv")
    assert accuracies.exclusions == ()
    assert set(accuracies.table["model"]) == {"tailwag:world"}
    assert set(accuracies.table["task"]) == {"backgrounds"}
    assert accuracies.table["n"].sum() == 120
    points = join(accuracies, read_frequencies(tmp_path / "counts.csv"))
    assert len(points) == len(BACKGROUNDS)
    assert [e for e in points.exclusions if e.reason != "no accuracy of this name"] == []
    # The model was trained on such pictures: it knows backgrounds far better than by chance.
    assert points.table["value"].mean() > 0.6


def test_labels_meet_concepts_by_folded_name_and_give_what_a_loop_gives(world):
    corpus = Corpus.open(world / "db", "backgrounds")
    encoder = Encoder.for_space(corpus.space, None, None, "cpu")
    concepts = ConceptSet("b", tuple(Concept(name) for name in BACKGROUNDS))
    prototypes = prototypes_from_texts(concepts, encoder)
    found = zero_shot_accuracy(corpus, prototypes)
    vectors = np.concatenate([block.vectors for block in corpus.scan("image")]).astype(np.float32)
    best = (vectors @ prototypes.vectors.astype(np.float32).T).argmax(axis=1)
    right, samples = Counter(), Counter()
    for label, guess in zip(corpus.column("label").to_pylist(), best, strict=True):
        name = label.replace("_", " ")
        samples[name] += 1
        right[name] += BACKGROUNDS[guess] == name
    assert {one.concept: (one.samples, one.value) for one in found.per_class} == {
        name: (samples[name], pytest.approx(right[name] / samples[name])) for name in samples
    }
    assert found.images == sum(samples.values())


def test_concepts_that_are_no_label_are_candidates_and_are_told(tailwag, world, tmp_path):
    plain = json.loads(tailwag("evaluate", "backgrounds", "--json")[1])
    assert plain["without_images"] == []
    assert plain["images"] == 120
    assert plain["per_class"][0].keys() == {"concept", "value", "samples"}
    more = world / "more.toml"
    more.write_text((world / "backgrounds.toml").read_text() + '[[concept]]\nname = "moonscape"\n')
    code, out, err = tailwag("evaluate", "backgrounds", "--concepts", more)
    assert code == 0
    assert "no image's label (1): moonscape" in err
    assert f"among {len(BACKGROUNDS) + 1}" in out


def test_names_can_be_given_and_standard_output_taken(tailwag):
    arguments = ("--task", "scenes", "--pretraining", "pairs", "--template", "a {}", "--out", "-")
    code, out, _ = tailwag("evaluate", "backgrounds", *arguments)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "model,pretraining,task,concept,metric,value,n"
    assert lines[1].startswith("tailwag:world,pairs,scenes,")
    assert ",accuracy," in lines[1]


def test_captions_find_their_image(tailwag, world, tmp_path):
    concepts = world / "backgrounds.toml"
    told = tailwag("evaluate", "pairs", "--retrieval", "--k", 50, "--concepts", concepts, "--out", tmp_path / "r.csv")
    assert told[0] == 0, told[2]
    found = read_accuracies(tmp_path / "r.csv").table
    assert set(found["metric"]) == {"text-to-image recall@50"}
    assert (found["value"] > 50 / 300).mean() > 0.8


def noisy_pairs():
    generator = np.random.default_rng(0)
    image = random_unit(24, 16)
    text = (image.astype(np.float32) + 0.8 * generator.normal(size=image.shape)).astype(np.float32)
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float16)
    return image, text


@pytest.mark.parametrize("k", [1, 3, 24])
def test_recall_equals_sorting(tmp_path, k):
    image, text = noisy_pairs()
    captions = [("a cat" if row % 3 else "two dogs") if row else "" for row in range(24)]
    corpus = make_corpus(tmp_path, image, text, captions=captions)
    found = retrieval_recall(corpus, ConceptSet("s", (Concept("cat"), Concept("dog"), Concept("bat"))), k)
    scores = text.astype(np.float32) @ image.astype(np.float32).T
    hit = [row in np.argsort(-scores[row], kind="stable")[:k] for row in range(24)]
    by_name = {"cat": [hit[row] for row in range(1, 24) if row % 3], "dog": [hit[row] for row in range(3, 24, 3)]}
    assert {one.concept: (one.value, one.samples) for one in found.per_concept} == {
        name: (pytest.approx(np.mean(hits)), len(hits)) for name, hits in by_name.items()
    }
    assert found.without_captions == ("bat",)
    assert (found.captions, found.empty_captions, found.images) == (23, 1, 24)
    assert found.recall == pytest.approx(np.mean(hit[1:]))


def test_captions_of_one_image_share_it(tmp_path):
    """Five captions of one picture are five questions, and that picture is one answer among the others."""
    image, text = random_unit(3, 16), random_unit(3, 16, seed=1)
    rows = rows_table(make_space(16), image[[0, 0, 1, 2]], text[[0, 1, 2, 0]], captions=["cat"] * 4)
    position = rows.schema.get_field_index("sha256")
    rows = rows.set_column(position, rows.schema.field("sha256"), pa.array(["a", "a", "b", "c"]))
    corpus = Corpus.create(tmp_path, "made", make_space(16))
    corpus.append(rows)
    found = retrieval_recall(corpus, ConceptSet("s", (Concept("cat"),)), 2)
    assert found.images == 3
    with pytest.raises(BadInput, match="recall at 4 needs 1 to 3"):
        retrieval_recall(corpus, ConceptSet("s", (Concept("cat"),)), 4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["backgrounds", "--retrieval"], 2, "--retrieval needs --concepts"),
        (["backgrounds", "--json", "--out", "-"], 2, "both write to standard output"),
        (["pairs"], 1, "has no labels"),
        (["backgrounds", "--concepts", "everyday"], 1, "have no prototype"),
        (["backgrounds", "--retrieval", "--concepts", "everyday"], 1, "has no captions"),
        (["nothing"], 1, "nothing"),
    ],
)
def test_a_mistake_is_told_in_one_line(tailwag, arguments, code, message):
    found, out, err = tailwag("evaluate", *arguments)
    assert found == code
    assert message in err
    assert out == ""
    assert code == 2 or len(err.strip().splitlines()) == 1


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    prototypes = make_prototypes(np.eye(16, dtype=np.float16)[:3])
    corpus = make_corpus(
        tmp_path, np.eye(16, dtype=np.float16)[[0, 0, 1, 2]], labels=["Query_0", "query 1", None, "query 2"]
    )
    found = zero_shot_accuracy(corpus, prototypes)
    assert [(one.concept, one.value, one.samples) for one in found.per_class] == [
        ("query 0", 1.0, 1),
        ("query 1", 0.0, 1),
        ("query 2", 1.0, 1),
    ]
    assert (found.unlabelled, found.images) == (1, 3)
