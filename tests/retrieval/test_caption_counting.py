"""Counting captions: what must match and what must not, and equality with a brute force of a few lines."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.errors import BadInput, TailwagError
from tailwag.retrieval.captions import CaptionMatcher, count_captions, forms, tokens
from tailwag.retrieval.captions.matching import spellings, ways_to_say, words_of
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.counting import where
from tests.corpora import make_corpus, random_unit, rows_table

# name, captions by whose phrase it is named, captions that have its words alone, captions that do not name it
CASES = [
    ("men", ["Two men", "the men's room"], ["a man", "that man's dog"], ["women", "mentor", "amen", ""]),
    ("Biking", ["biking downhill", "MOUNTAIN-BIKING"], ["bikes in a row", "he biked"], ["bikini", "hiking"]),
    (
        "T-shirt",
        ["a T-shirt", "a t shirt", "T‑SHIRT!"],
        ["two T-shirts", "t shirts"],
        ["a shirt", "Mr T. Shirt", "shirt t", "tshirt"],
    ),
    (
        "golf-ball",
        ["golf ball", "a golf-ball.", "golf/ball", "Golf_Ball"],
        ["golf balls", "a ball for golf", "golf, ball"],
        ["ball", "golfball", "a golfer's ball"],
    ),
    ("737-800", ["Boeing 737-800", "737 800", "a 737–800"], [], ["737-300", "800", "737", "800 737"]),
    ("F-16A/B", ["an F-16A/B jet", "f 16a b"], [], ["B", "a b c", "F-16", "f-16a"]),
    ("Crested Auklet", ["a crested auklet"], ["auklets, crested", "Auklet with a crest"], ["auklet", "a crested tit"]),
    (
        "2012 Acura TL Sedan",
        ["2012 Acura TL Sedan for sale"],
        ["the sedan: Acura TL, 2012", "Acura TL sedans of 2012"],
        ["2012 sedan", "2013 Acura TL Sedan", "a sedan", "2012-2013 Acura TL sedan"],
    ),
    ("Georgia", ["Tbilisi, GEORGIA", "georgia's hills"], ["two Georgias"], ["Georgian wine", "George"]),
    ("braided", ["braided hair"], ["a braid", "braiding"], ["bread", "upbraid"]),
    ("St. Bernard", ["a St. Bernard", "St Bernard dog"], ["Bernard, St"], ["saint bernard"]),
    ("café", ["a cafe", "CAFÉ", "cafe\u0301"], ["two cafés"], ["caf"]),
    ("rose", ["a rose"], ["roses"], ["the sun rises", "rise", "rising"]),
    ("goose", ["a goose"], ["geese"], ["gosling"]),
    ("leaf", ["a leaf"], ["leaves"], ["leave"]),
    ("black and white", ["a black-and-white photo"], ["white on black and red"], ["black & white"]),
]


def match(names, captions, keep="words"):
    return CaptionMatcher([Concept(name) for name in names]).match(pa.array(captions, pa.string()), keep)


@pytest.mark.parametrize(("name", "phrases", "words_alone", "neither"), CASES, ids=[case[0] for case in CASES])
def test_a_concept_is_named_by_the_captions_that_say_it(name, phrases, words_alone, neither):
    captions = [*phrases, *words_alone, *neither]
    by_phrase, by_words = (set(match([name], captions, rule).rows.tolist()) for rule in ("phrase", "words"))
    assert by_phrase == set(range(len(phrases)))
    assert by_words == set(range(len(phrases) + len(words_alone)))


def brute_phrase(names, caption):
    """Does a spelling of a name stand in the caption's tokens, one after the other?"""
    said = tokens(caption)
    wanted = [one for name in names for one in spellings(tokens(name))]
    return any(tuple(said[at : at + len(one)]) == one for one in wanted for at in range(len(said)))


def brute_words(names, caption):
    """Does each word of a name stand in the caption in some form? Compounds may be apart."""
    said = tokens(caption)

    def there(word):
        apart = [way for way in ways_to_say(word) if len(way) > 1]
        return bool(forms(word) & set(said)) or any(
            tuple(said[at : at + len(way)]) == way for way in apart for at in range(len(said))
        )

    return any(all(map(there, words_of(name))) for name in names)


def expected(concepts, captions, rule):
    brute = brute_words if rule == "words" else brute_phrase
    return [
        (row, position)
        for row, caption in enumerate(captions)
        for position, concept in enumerate(concepts)
        if brute([concept.name, *concept.synonyms], caption)
    ]


PIECES = st.sampled_from(
    [
        *"aAsbt16'’-‐–/.,! _|é",
        "cat",
        "cats",
        "t-shirt",
        "shirts",
        "737",
        "golf",
        "ball",
        "'s",
        "ﬁ",
        "ß",
        "½",
        "日本",
        "𝐀",
        "🐕",
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text(max_size=12))
NAMES = TEXTS.filter(lambda name: bool(words_of(name)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6), st.lists(TEXTS, max_size=12))
def test_any_captions_and_names_give_what_the_brute_force_gives(named, captions):
    concepts = [Concept(own[0], tuple(own[1:])) for own in named]
    captions = captions + [name for own in named for name in own]
    matcher = CaptionMatcher(concepts)
    for rule in ("phrase", "words"):
        found = matcher.match(pa.array(captions, pa.string()), rule)
        pairs = list(zip(found.rows.tolist(), found.concepts.tolist(), strict=True))
        assert pairs == expected(concepts, captions, rule)
        assert np.bincount(found.concepts, minlength=len(concepts)).tolist() == getattr(found, rule).tolist()
    assert (found.phrase <= found.words).all()
    assert found.empty_captions == sum(not words_of(caption) for caption in captions)


def test_a_slice_of_an_array_and_nulls_are_read_as_they_stand():
    captions = pa.array(["cat", None, "cats", "dog", "cat"], pa.string())
    found = CaptionMatcher([Concept("cat")]).match(captions.slice(1, 3), "words")
    assert (found.rows.tolist(), found.empty_captions, found.phrase.tolist()) == ([1], 1, [0])
    wide = CaptionMatcher([Concept("cat")]).match(captions.cast(pa.large_string()).slice(2), "phrase")
    assert wide.rows.tolist() == [2]
    assert CaptionMatcher([Concept("cat")]).match(captions.slice(0, 0)).words.tolist() == [0]
    with pytest.raises(BadInput, match="a column of int64 was given"):
        CaptionMatcher([Concept("cat")]).match(pa.array([1]))


def test_a_long_caption_is_read_to_its_end():
    caption = "ﷺ " * 3000 + "red panda"
    found = match(["red panda", "panda"], ["red", caption, caption])
    assert found.rows.tolist() == [1, 1, 2, 2] and found.phrase.tolist() == [2, 2]


def test_many_mentions_in_one_batch_are_all_kept():
    found = match(["cat", "cats", "dog"], ["cat dog"] * 5000)
    assert len(found.rows) == 15000 and (np.diff(found.rows) >= 0).all()
    assert found.concepts[:3].tolist() == [0, 1, 2]


def test_a_name_without_a_letter_is_refused():
    with pytest.raises(BadInput, match=r"2 names have no letter or digit.*'\?', '…'"):
        CaptionMatcher([Concept("?"), Concept("dog", ("…",))])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """150 captions in two fragments, of which three rows were deleted."""
    captions = [
        f"{'two dogs' if row % 3 else ''} {'golf ball' if row % 7 == 0 else 'red'}".strip() for row in range(150)
    ]
    captions[5] = ""
    corpus = make_corpus(tmp_path_factory.mktemp("captions"), random_unit(100, 8), captions=captions[:100])

    corpus.append(rows_table(corpus.space, random_unit(50, 8), prefix="t/", captions=captions[100:]))
    corpus.delete("key IN ('s/0', 's/50', 't/3')")
    return corpus


def test_a_corpus_is_counted_over_all_its_rows_with_their_offsets(corpus, monkeypatch):
    monkeypatch.setattr("tailwag.retrieval.captions.counting.BATCH_ROWS", 7)
    concepts = ConceptSet("mine", (Concept("dog"), Concept("golf ball"), Concept("zebra", ("red",))))
    captions = corpus.column("caption").to_pylist()
    for keep in ("words", "phrase"):
        found = count_captions(corpus, concepts, keep=keep)
        pairs = list(zip(found.mentions.offsets.tolist(), found.mentions.concepts.tolist(), strict=True))
        assert pairs == expected(concepts, captions, keep)
    assert (found.rows, found.empty_captions) == (147, captions.count(""))
    assert count_captions(corpus, concepts, keep=None).mentions is None
    assert str(found[0]).startswith(f"{found.words[0]} of 147 captions (")
    assert found.to_arrow().column("words").to_pylist() == found.words.tolist()


def test_under_a_control_only_its_rows_are_counted_and_offsets_stay_those_of_the_corpus(corpus):
    concepts = ConceptSet("mine", (Concept("dog"),))
    whole, some = count_captions(corpus, concepts), count_captions(corpus, concepts, control=where("u < 0.5"))
    left = set(corpus.offsets("u < 0.5").tolist())
    assert some.rows == len(left) < 147 and some.control == "u < 0.5"
    assert some.mentions.offsets.tolist() == [row for row in whole.mentions.offsets.tolist() if row in left]


def test_a_rule_that_does_not_exist_is_refused(corpus):
    with pytest.raises(BadInput, match="no rule 'all'"):
        count_captions(corpus, ConceptSet("mine", (Concept("dog"),)), keep="all")


def test_counting_captions_imports_no_torch_and_no_tagger():
    code = (
        "import sys\nimport pyarrow as pa\nfrom tailwag.retrieval.captions import CaptionMatcher, count_captions\n"
        "from tailwag.retrieval.concepts import Concept\nCaptionMatcher([Concept('cat')])\n"
        "print(sorted({'torch', 'lancedb', 'open_clip', 'faiss', 'HanTa', 'inflect'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_captions_that_cannot_be_read_are_an_error_and_no_smaller_count(tmp_path):
    corpus = make_corpus(tmp_path, random_unit(10, 8), captions=["a dog"] * 10)
    corpus.append(rows_table(corpus.space, random_unit(10, 8), prefix="t/", captions=["a dog"] * 10))
    newest = max(tmp_path.rglob("data/*.lance"), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    with pytest.raises(TailwagError, match="column 'caption' of corpus 'made' cannot be read"):
        count_captions(corpus, ConceptSet("mine", (Concept("dog"),)))


def test_the_loops_stay_inside_their_arrays():
    """Run by Python, they would fail where the compiled ones write beyond the end; and they find the same."""
    code = (
        "import pyarrow as pa\nfrom tailwag.retrieval.captions import CaptionMatcher\n"
        "from tailwag.retrieval.concepts import Concept\n"
        "captions = ['\\ufdfa ' * 400 + 'red panda', '-'.join('ab' * 700), 'dog ' * 1200, '\\U00020000\\xe9']\n"
        "matcher = CaptionMatcher([Concept('red panda'), Concept('dog'), Concept('a-b')])\n"
        "found = matcher.match(pa.array(captions), 'words')\n"
        "print(found.rows.tolist(), found.concepts.tolist(), found.phrase.tolist())"
    )
    plain = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"}
    for environment in (plain, dict(os.environ)):
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert told.stdout.strip() == "[0, 2] [0, 1] [1, 1, 0]"
