"""`tailwag calibrate --centre`: auto by labels and by hubs, what is saved and carried, and audits that were begun."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.retrieval.background import encode_background
from tests.corpora import make_corpus, unit

ROWS = 400
THINGS = ("red panda", "zebra")


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def vectors(encoder):
    """Pictures of two things and of others, some of which resemble every text."""
    generator = np.random.default_rng(0)
    mean = encode_background(encoder).mean
    texts = encoder.encode_texts([f"a photo of a {name}" for name in THINGS]).astype(np.float64)
    own = np.zeros((ROWS, 32))
    for number, text in enumerate(texts):
        own[number * 40 : (number + 1) * 40] = text - mean
    spread = generator.normal(size=own.shape) / 16
    return unit(spread + own + np.outer(generator.exponential(1.0, ROWS), mean))


@pytest.fixture
def tailwag(tmp_path, encoder, vectors, capsys):
    """Make corpora of these pictures as they are asked for, and run a command on them."""

    def run(corpus, *arguments, labels=None):
        if not (tmp_path / f"{corpus}.lance").exists():
            captions = [f"a {THINGS[row // 40]}" if row < 80 and row % 4 else "a thing" for row in range(ROWS)]
            make_corpus(tmp_path, vectors, name=corpus, space=encoder.space, captions=captions, labels=labels)
        with pytest.raises(SystemExit) as caught:
            main(["calibrate", corpus, *map(str, arguments), "--db", str(tmp_path)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_labels_decide_where_there_are_any_and_hubs_elsewhere(tailwag, tmp_path, vectors, encoder):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(THINGS))
    true = [THINGS[row // 40] if row < 80 else "other" for row in range(ROWS)]
    status, out, err = tailwag("labelled", "--concepts", names, "--json", labels=true)
    assert status == 0 and "tailwag: centred prototypes: mean average precision" in err
    assert "over 2 concepts with labels" in err and err.count("prototypes: ") == 1
    recipe = json.loads(out)["frequencies"][0]["recipe"]
    assert "less the mean of" in recipe and " [centred: mean average precision" in recipe
    # Labels that go with the plain similarity and against the centred one.
    plain = vectors.astype(float) @ encoder.encode_texts([f"a photo of a {one}" for one in THINGS]).astype(float).T
    hubs = vectors.astype(float) @ encode_background(encoder).mean
    told = np.full(ROWS, "other", dtype=object)
    for column in (0, 1):
        told[np.argsort(-(plain[:, column] + 3 * hubs))[column:60:2]] = THINGS[column]
    _, _, err = tailwag("otherwise", "--concepts", names, labels=told.tolist())
    assert "tailwag: plain prototypes: mean average precision" in err
    _, _, err = tailwag("bare", "--concepts", names)
    assert "prototypes: hub strength" in err and "on 400 rows" in err


def test_what_is_saved_is_carried_in_its_own_kind(tailwag):
    for kind, wish in (("centred", "yes"), ("plain", "no")):
        assert tailwag("first", "zebra", "--centre", wish, "--save")[0] == 0
        status, out, err = tailwag("second", "zebra", "--transfer", "first", "--json")
        (found,) = json.loads(out)["frequencies"]
        assert (status, err) == (0, "") and ("less the mean of" in found["recipe"]) == (kind == "centred")
    status, _, err = tailwag("second", "zebra", "--transfer", "first", "--centre", "yes")
    assert status == 1 and "ask in the same way" in err


def test_an_audit_goes_on_in_the_kind_that_it_was_begun_in(tailwag, tmp_path):
    asked = ("photos", "zebra", "--audit", 6, "--out", tmp_path / "audit")
    assert tailwag(*asked, "--centre", "yes")[0] == 0
    assert tailwag(*asked)[0] == 0  # auto is whatever it was
    status, out, err = tailwag(*asked, "--centre", "no")
    assert (status, out) == (1, "") and "was begun with centred prototypes: leave out --centre no" in err
