"""The background vocabulary: English as it is spoken, encoded once a database, and again when that is needed."""

import numpy as np
import pytest

from tailwag.embed.database import Database
from tailwag.errors import BadInput
from tailwag.retrieval.background import (
    Background,
    background_path,
    encode_background,
    open_background,
    vocabulary_digest,
    vocabulary_texts,
)
from tests.corpora import make_space, random_unit

ONE_THING = {
    *("bus", "butcher's", "cactus", "circus", "compass", "drawing class", "dress", "glass", "hippopotamus", "kiss"),
    *("magnifying glass", "mattress", "minibus", "octopus", "painting class", "rhinoceros", "walrus"),
}


class Counting:
    """Encodes every text as a vector of its own, and counts how many it did."""

    def __init__(self, weights="weights"):
        self.space, self.encoded = make_space(8, weights), 0

    def encode_texts(self, texts):
        self.encoded += len(texts)
        seeds = [int(vocabulary_digest([text]), 16) for text in texts]
        return np.concatenate([random_unit(1, 8, seed) for seed in seeds])

    def encode_images(self, images):
        raise NotImplementedError


def test_the_vocabulary_names_each_noun_once():
    texts = vocabulary_texts()
    assert 1000 <= len(texts) == len(set(texts)) <= 1500


def test_nouns_have_the_article_that_english_gives_them():
    said = {text.removeprefix("a photo of ") for text in vocabulary_texts()}
    assert {"a dog", "an apple", "an umbrella", "a uniform", "bread", "jeans", "the sky"} <= said
    for text in said:
        article, _, noun = text.partition(" ")
        assert article != "a" or noun[0].lower() not in "aeiou" or noun in ("uniform", "university")
        assert article != "an" or noun[0].lower() in "aeiou"
    # What ends in s and has an article is one thing all the same.
    ending = {text.partition(" ")[2] for text in said if text.startswith(("a ", "an ")) and text.endswith("s")}
    assert ending <= ONE_THING


def test_a_vocabulary_is_encoded_once_a_space_and_database(tmp_path):
    database, encoder = Database(tmp_path), Counting()
    first = open_background(database, encoder)
    assert encoder.encoded == len(vocabulary_texts())
    again = open_background(database, encoder)
    assert encoder.encoded == len(vocabulary_texts()) and np.array_equal(first.vectors, again.vectors)
    assert np.array_equal(first.vectors, encode_background(Counting()).vectors) and first.digest == again.digest
    other = Counting("others")
    open_background(database, other)
    assert other.encoded == len(vocabulary_texts()) and len(list((tmp_path / "backgrounds").iterdir())) == 2
    assert database.tables() == []


def test_a_file_that_is_damaged_or_of_another_space_is_written_anew(tmp_path):
    database, encoder = Database(tmp_path), Counting()
    right = open_background(database, encoder).vectors
    path, other = background_path(database, encoder.space), Counting("others")
    open_background(database, other)
    for spoil in (
        lambda: path.write_bytes(path.read_bytes()[:100]),
        lambda: path.write_bytes(background_path(database, other.space).read_bytes()),
    ):
        spoil()
        encoder.encoded = 0
        assert np.array_equal(open_background(database, encoder).vectors, right)
        assert encoder.encoded == len(vocabulary_texts())
        open_background(database, encoder)
        assert encoder.encoded == len(vocabulary_texts())


def test_where_nothing_can_be_kept_it_is_encoded_each_time(tmp_path):
    encoder = Counting()
    (tmp_path / "backgrounds").write_text("in the way")
    for database in (None, Database("s3://bucket/db"), Database(tmp_path)):
        encoder.encoded = 0
        open_background(database, encoder)
        assert encoder.encoded == len(vocabulary_texts())


def test_what_is_no_background_is_refused():
    with pytest.raises(BadInput, match="at least one text"):
        encode_background(Counting(), ())
    with pytest.raises(BadInput, match="shape"):
        Background(np.zeros((0, 8), np.float16), make_space(8), "0" * 8)
    with pytest.raises(BadInput, match="not finite"):
        Background(np.full((1, 8), np.nan, np.float16), make_space(8), "0" * 8)
