"""Nouns of captions: which words they are, their lemmas, and in how many images of a corpus they are."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.errors import BadInput
from tailwag.retrieval.captions.nouns import corpus_nouns, nouns_of
from tests.corpora import make_corpus, random_unit, rows_table


def lemmas(caption):
    return [lemma for _, lemma in nouns_of([caption])[0]]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A herd of cattle standing on top of a grass covered field.", ["herd", "cattle", "top", "grass", "field"]),
        ("Two children are painting a wooden fence", ["child", "fence"]),
        ("a boy is running beside a running dog", ["boy", "dog"]),
        ("skis beside two scissors and a bus", ["ski", "scissors", "bus"]),
        ("a dog’s tail", ["dog", "tail"]),
        ("hot-air balloons", ["hot-air", "balloon"]),
        ("PARKED CARS", ["car"]),
        ("a visit to London", ["visit", "London"]),
        ("A herd of Giraffes", ["herd", "giraffe"]),
        ("", []),
        ("!? 12 3.5 _", []),
    ],
)
def test_nouns_are_found_with_their_lemmas(caption, expected):
    assert lemmas(caption) == expected


def test_the_tokens_stand_in_the_caption():
    assert nouns_of(["Two Women hold umbrellas."]) == [[("Women", "woman"), ("umbrellas", "umbrella")]]


@given(captions=st.lists(st.text(max_size=80), max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_and_each_caption_stands_for_itself(captions):
    found = nouns_of(captions)
    assert found == [nouns_of([caption])[0] for caption in captions]
    assert all(len(token) > 1 and lemma for nouns in found for token, lemma in nouns)


def test_very_long_words_and_sentences_are_no_trouble():
    assert lemmas("a" * 100_000 + " dog") == ["dog"]
    assert lemmas("a dog and " * 1000).count("dog") == 1000


def test_no_model_is_taken_from_the_current_folder(tmp_path):
    (tmp_path / "morphmodel_en.pgz").write_bytes(b"not a model")
    program = "from tailwag.retrieval.captions.nouns import nouns_of; print(nouns_of(['a dog']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[('dog', 'dog')]]", done.stderr


CAPTIONS = ["a dog", "Dogs and a cat", "a dog with a dog", "a cat", "the sea"]


def corpus_of(folder: Path, digests: list[str]):
    corpus = make_corpus(folder, random_unit(0, 8))
    rows = rows_table(corpus.space, random_unit(len(CAPTIONS), 8), captions=CAPTIONS)
    place = rows.schema.get_field_index("sha256")
    corpus.append(rows.set_column(place, rows.schema.field(place), pa.array(digests)))
    return corpus


def test_images_are_counted_once_and_captions_each(tmp_path):
    same, other = "a" * 64, "b" * 64
    found = corpus_nouns(corpus_of(tmp_path, [same, same, other, "", ""]), at_least=2)
    assert [(one.noun, one.captions, one.images) for one in found.nouns] == [("cat", 2, 2), ("dog", 3, 2)]
    assert found.rarer == 1
    assert found.rows == len(CAPTIONS)
    assert found.concepts().names == ("cat", "dog")
    assert "1 more are in fewer" in str(found)


def test_rows_without_a_digest_are_images_of_their_own(tmp_path):
    found = corpus_nouns(corpus_of(tmp_path, [""] * 5), at_least=1)
    assert {one.noun: one.images for one in found.nouns} == {"dog": 3, "cat": 2, "sea": 1}
    with pytest.raises(BadInput, match="at least 1 image"):
        corpus_nouns(corpus_of(tmp_path / "two", [""] * 5), at_least=0)


def test_no_noun_in_as_many_images_says_so(tmp_path):
    found = corpus_nouns(corpus_of(tmp_path, [""] * 5), at_least=4)
    with pytest.raises(BadInput, match=r"no noun is in 4 images .* \(3 are in fewer\)"):
        found.concepts()
    empty = corpus_nouns(make_corpus(tmp_path / "none", random_unit(0, 8)))
    assert (empty.nouns, empty.rarer, empty.rows) == ((), 0, 0)


@pytest.mark.photos
def test_the_nouns_of_real_captions_are_the_things_they_show(data):
    import pyarrow.parquet as pq

    shards = sorted((data / "data/photos/coco").glob("*.parquet"))
    captions = [caption for shard in shards for caption in pq.read_table(shard)["caption"].to_pylist()]
    found = {lemma for nouns in nouns_of(captions) for _, lemma in nouns}
    assert {"man", "person", "dog", "cat", "kitchen", "zebra", "skateboard"} <= found
    assert not {"the", "of", "is", "two", "red", "standing", "a"} & found - {"red"}
