"""Thousands of released concepts in the captions of real photographs: the quick pass and a slow one agree."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailwag.retrieval.captions import CaptionMatcher, count_captions, forms, tokens
from tailwag.retrieval.captions.matching import spellings, ways_to_say, words_of
from tailwag.retrieval.concepts import Concept, ConceptSet, fold
from tests.corpora import make_corpus, random_unit

pytestmark = pytest.mark.photos


@pytest.fixture(scope="module")
def captions(data) -> list[str]:
    found = []
    for path in sorted((data / "data" / "photos").glob("*/*.parquet")):
        table = pq.read_table(path)
        found += table["caption"].to_pylist()
        if "captions" in table.column_names:
            found += [caption for several in table["captions"].to_pylist() for caption in several]
    return found


@pytest.fixture(scope="module")
def concepts(data) -> ConceptSet:
    """Every name in the released counts that has a letter or digit, each once."""
    paths = sorted((data / "data" / "paper" / "search_counts").glob("*.json"))
    names = {fold(name): name for path in paths for name in json.loads(path.read_text())}
    return ConceptSet("released", tuple(Concept(name) for name in names.values() if words_of(name)))


def test_both_counts_of_all_released_concepts_are_those_of_the_brute_force(captions, concepts):
    """By strings between spaces, and by sets: a twin that shares only the tokens and forms."""
    some = captions[::41]
    phrases = [[f" {' '.join(one)} " for one in spellings(tokens(concept.name))] for concept in concepts]
    words = [
        [
            (forms(word), [f" {' '.join(way)} " for way in ways_to_say(word) if len(way) > 1])
            for word in words_of(concept.name)
        ]
        for concept in concepts
    ]
    pairs: dict[str, list] = {"phrase": [], "words": []}
    for row, caption in enumerate(some):
        said = tokens(caption)
        line, found = f" {' '.join(said)} ", set(said)
        for position in range(len(concepts)):
            if any(phrase in line for phrase in phrases[position]):
                pairs["phrase"].append((row, position))
            if all(not found.isdisjoint(own) or any(way in line for way in apart) for own, apart in words[position]):
                pairs["words"].append((row, position))
    matcher = CaptionMatcher(concepts)
    assert len(concepts) > 3500 and len(some) > 130
    for rule, expected in pairs.items():
        matches = matcher.match(pa.array(some), rule)
        assert list(zip(matches.rows.tolist(), matches.concepts.tolist(), strict=True)) == expected
        assert len(expected) > 400


def test_a_corpus_of_them_is_counted_as_one_batch_is(captions, concepts, tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path, random_unit(len(captions), 8), captions=captions)
    monkeypatch.setattr("tailwag.retrieval.captions.counting.BATCH_ROWS", 1000)
    found, once = count_captions(corpus, concepts), CaptionMatcher(concepts).match(pa.array(captions), "words")
    assert found.phrase.tolist() == once.phrase.tolist() and found.words.tolist() == once.words.tolist()
    assert np.array_equal(found.mentions.offsets, once.rows)
    assert np.array_equal(found.mentions.concepts, once.concepts)


def test_counts_of_a_few_concepts_looked_up_by_hand(captions):
    """By `grep`: dogs are in so many captions, men in so many."""
    import re

    found = CaptionMatcher([Concept("dog"), Concept("man"), Concept("T-shirt")]).match(pa.array(captions))
    grep = [
        r"\b(dog|dogs|dogged|dogging|dogger|doggest)\b(?!-[a-z]\b)",
        r"\b(man|men|mans|manned|manning)\b",
        r"\bt[- ]shirts?\b",
    ]
    assert found.words.tolist() == [
        sum(bool(re.search(pattern, caption, re.IGNORECASE)) for caption in captions) for pattern in grep
    ]
