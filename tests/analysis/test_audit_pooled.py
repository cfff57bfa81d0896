"""Audits of a few of many concepts: what they teach corrects the others, and both numbers are told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.pooling import concepts_to_audit
from tailwag.benchmarks.similarity_simulation import simulate_histograms
from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.retrieval.concepts import load_concepts
from tailwag.retrieval.prototypes import prototypes_from_texts

from ..corpora import make_corpus, unit

NAMES = ("zebra", "teapot", "lighthouse", "violin", "cactus", "tractor", "anchor", "lantern")
ROWS, TRUE = 6_000, 300
# Far below what is taken for usual, so that captions alone say half the truth.
RECALL = 0.3


@pytest.fixture(scope="module")
def database(tmp_path_factory, tiny_model):
    """Eight concepts of 300 images each, which captions seldom name, among rows that show nothing."""
    folder = tmp_path_factory.mktemp("pooled")
    lines = "".join(f'\n[[concept]]\nname = "{name}"\n' for name in NAMES)
    (folder / "eight.toml").write_text(f'name = "eight"\n{lines}')
    encoder = Encoder.load(tiny_model)
    centres = prototypes_from_texts(load_concepts(folder / "eight.toml"), encoder).vectors.astype(float)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    generator = np.random.default_rng(0)
    shown = np.full(ROWS, -1)
    shown[: len(NAMES) * TRUE] = np.repeat(np.arange(len(NAMES)), TRUE)
    # Similar to one prototype and not to the others, however alike those are; what is left lies across all of them.
    own = np.linalg.pinv(centres).T
    own *= 0.8 / np.linalg.norm(own, axis=1).max()
    across = generator.normal(size=(ROWS, centres.shape[1]))
    across -= across @ np.linalg.pinv(centres) @ centres
    jitter = generator.normal(0, 0.1, (ROWS, len(NAMES))) @ own
    inside = np.where((shown >= 0)[:, None], own[shown] * generator.normal(1, 0.1, (ROWS, 1)), 0.0) + jitter
    left = np.sqrt(np.maximum(1 - (inside**2).sum(axis=1, keepdims=True), 0.0))
    vectors = unit(inside + left * unit(across))
    named = (shown >= 0) & (generator.random(ROWS) < RECALL)
    captions = [f"a {NAMES[one]}" if is_named else "something" for one, is_named in zip(shown, named, strict=True)]
    labels = [NAMES[one] if one >= 0 else "nothing" for one in shown]
    order = generator.permutation(ROWS)
    make_corpus(
        folder,
        vectors[order],
        space=encoder.space,
        captions=[captions[row] for row in order],
        labels=[labels[row] for row in order],
    )
    return folder


@pytest.fixture
def tailwag(database, tmp_path, capsys):
    def run(*arguments):
        where = ("--centre", "no", "--db", str(database), "--out", str(tmp_path / "audit"))
        with pytest.raises(SystemExit) as caught:
            main(["calibrate", "made", "--concepts", str(database / "eight.toml"), *map(str, arguments), *where])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def off(found, names):
    return np.mean([abs(np.log10(found[name]["estimate"] / TRUE)) for name in names])


def test_audits_of_some_concepts_correct_the_others_and_both_numbers_are_told(tailwag):
    _, out, _ = tailwag("--json")
    alone = {one["concept"]: one for one in json.loads(out)["frequencies"]}
    status, out, err = tailwag("--audit", 60, "--audit-concepts", 5, "--label-column", "--json")
    found = {one["concept"]: one for one in json.loads(out)["frequencies"]}
    assert status == 0 and tuple(found) == NAMES
    audited = [name for name in NAMES if found[name]["method"] == "audit of 60 labels"]
    others = [name for name in NAMES if name not in audited]
    assert len(audited) == 5
    assert {found[name]["method"] for name in others} == {"captions, corrected by the audits of 5 other concepts"}
    assert off(found, others) < 0.6 * off(alone, others)
    assert "by the audits of 5 concepts" in err
    for name in others:
        (line,) = [line for line in err.splitlines() if line.startswith(f"  {name}: ")]
        assert "by captions alone" in line and line.endswith("corrected")


def test_where_all_are_audited_what_they_teach_is_told_and_changes_nothing(tailwag):
    _, out, err = tailwag("--audit", 20, "--label-column", "--json")
    assert {one["method"] for one in json.loads(out)["frequencies"]} == {"audit of 20 labels"}
    assert "all have labels of their own" in err


def test_two_audits_are_too_few_to_move_the_others(tailwag, tmp_path):
    tailwag("--audit", 20, "--audit-concepts", 5)
    sheet = tmp_path / "audit" / "labels.csv"
    lines = sheet.read_text().splitlines()
    two = sorted({line.split(",")[1] for line in lines[1:]})[:2]
    filled = [line + ("yes" if line.split(",")[1] in two else "") for line in lines[1:]]
    (tmp_path / "filled.csv").write_text("\n".join([lines[0], *filled]) + "\n")
    status, out, err = tailwag("--labels", tmp_path / "filled.csv", "--json")
    assert status == 0 and "by the audits of" not in err
    assert sum(one["method"] == "captions" for one in json.loads(out)["frequencies"]) == len(NAMES) - 2


def test_concepts_to_audit_are_common_and_rare_and_their_order_changes_nothing():
    made = simulate_histograms(1e-3, concepts=12, rows=200_000, seed=4)
    found = anchored_frequencies(made.rows, made.mentions)
    picked = concepts_to_audit(found, 4)
    by_excess = sorted(range(12), key=lambda place: -found[place].excess.excess)
    assert len(picked) == 4 and by_excess[0] in picked
    backwards = concepts_to_audit(found[::-1], 4)
    assert sorted(11 - place for place in backwards) == list(picked)
    assert concepts_to_audit(found, 50) == tuple(range(12))


def test_audit_concepts_needs_an_audit(tailwag):
    assert tailwag("--audit-concepts", 3)[0] == 2
