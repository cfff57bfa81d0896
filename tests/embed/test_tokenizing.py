"""Captions are tokenized to the id as open_clip does, many times as quick, or by open_clip itself."""

from __future__ import annotations

import copy
import json
import sys
import tarfile
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from html.entities import html5
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailwag.embed import tokenizing
from tailwag.embed.models import PROBE_TEXTS, load_model
from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.embed.text_tower import TextTower
from tailwag.embed.tokenizing import PROBES, QuickTokenizer, lowered_as_is

EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
ALONE = [one for one in EVERY if not one.isascii() and lowered_as_is(one) is not None]
# What ftfy, html.unescape, str.split, str.lower and the pattern of tokens look at.
TRAPS = (
    *("&", "&amp;", "&lt;", "&#39;", "&#x1F415;", "&amp;amp;", "&eacute", "&EACUTE;", "&notit;", "& ", "<", "#", ";"),
    *("\x00", "\x08", "\t", "\n", "\x0b", "\x0c", "\r", "\r\n", "\x1a", "\x1b[31m", "\x1c", "\x1f", "\x7f", "\x85"),
    *("\xa0", "Â", "Ã", "Ã©", "Â ", "â€™", "â€œ", "вЂ™", "œ", "Œ ", "×²", "à²", "À°", "°", "é", "e\u0301", "\u0301"),
    *("’", "‘", "“", "”", "…", "—", "™", "€", "ﬁ", "ŉ", "Ｗ", "　", "\u2028", "\ufeff", "\u200d", "\ufffd", "\ud83d"),
    *(
        "'s",
        "'LL",
        "’re",
        "ſ",
        "'ſ",
        "\u0345",
        " \u0345 ",
        "İ",
        "Σ",
        "ΑΣ",
        "ẞ",
        "½",
        "٣",
        "犬",
        "ก็",
        "🐕\u200d🦺",
        "K",
        "'",
        "''s",
    ),
    *("<start_of_text>", "<END_of_text>", "dog", "Dogs", "a", "7", "42", "-", "!!!", " ", "  ", "x" * 90),
)
unicode = st.text(max_size=60)
ascii_text = st.text(st.characters(max_codepoint=127), max_size=60)
trapped = st.lists(st.sampled_from(TRAPS), max_size=12).map("".join)
taken = st.lists(st.sampled_from(" -~'&1aAé") | st.sampled_from(ALONE), max_size=30).map("".join)
texts = st.lists(unicode | ascii_text | trapped | taken, max_size=6)


@pytest.fixture(scope="module")
def tokenizer():
    return import_open_clip().SimpleTokenizer()


@pytest.fixture(scope="module")
def quick(tokenizer):
    return made(tokenizer)


def made(tokenizer):
    found = QuickTokenizer.of(tokenizer)
    assert found is not None
    return found


def with_context(tokenizer, length):
    other = copy.copy(tokenizer)
    other.context_length = length
    return other


def assert_same(quick, tokenizer, texts):
    ids, cut = quick(texts)
    assert ids.dtype == np.int64
    assert np.array_equal(ids, tokenizer(texts).numpy())
    lengths = [len(tokenizer.encode(text)) + 2 for text in texts]
    assert all(quick.encode(text) == tokenizer.encode(text) for text in texts)
    assert cut.tolist() == [length > tokenizer.context_length for length in lengths]


@given(texts)
@settings(max_examples=400, deadline=None)
def test_ids_and_cuts_are_open_clips(quick, tokenizer, texts):
    assert_same(quick, tokenizer, texts)


@given(st.lists(st.lists(st.sampled_from(TRAPS), max_size=150).map("".join), max_size=3), st.integers(2, 90))
@settings(max_examples=200, deadline=None)
def test_long_texts_are_cut_as_open_clip_cuts_them(tokenizer, texts, length):
    shorter = with_context(tokenizer, length)
    assert_same(made(shorter), shorter, texts)


@pytest.mark.parametrize("length", [2, 3, 16, 77])
@pytest.mark.parametrize("word", ["dog ", "! ", "犬", "x1"])
def test_texts_about_as_long_as_the_context(tokenizer, length, word):
    shorter = with_context(tokenizer, length)
    assert_same(made(shorter), shorter, [word * number for number in range(2 * length)])


def test_what_is_taken_as_it_is_cleaning_leaves(tokenizer):
    """Every pair of ASCII characters, and every other that is taken, between neighbours of all kinds."""
    ascii_characters = [chr(code) for code in range(128)]
    pairs = [a + b + c for a, b in product(ascii_characters, repeat=2) for c in ("", "q")]
    around = ["", "a", "Z", "0", " ", ".", "\n", "'"]
    beyond = [a + b + c for a, b, c in product(around, ALONE, around)]
    several = [a.join(ALONE[start : start + 9]) for a in around[1:] for start in range(0, len(ALONE), 9)]
    checked = 0
    for text in (*pairs, *beyond, *several):
        found = lowered_as_is(text)
        if found is not None:
            assert found.split() == tokenizer.clean_fn(text).split(), repr(text)
            checked += 1
    assert checked > len(beyond) + len(several) + 2 * 96 * 95


def test_no_entity_is_taken_as_it_is(tokenizer):
    """Every name of HTML 5, as it is and in capitals, and numbers, with and without the semicolon."""
    names = {f"&{name}" for name in html5} | {f"&{name.upper()}" for name in html5}
    names |= {f"&#{mark}{number}{end}" for mark in ("", "x", "X") for number in (39, 233) for end in (";", "")}
    for name, around in product(names, ("", " ")):
        text = f"a{around}{name}{around}b"
        assert lowered_as_is(text) is None or lowered_as_is(text) == tokenizer.clean_fn(text)
    assert lowered_as_is("a & b &") == tokenizer.clean_fn("a & b &")


def test_every_character_that_is_taken_is_tried_at_loading():
    plain = [one for one in EVERY[:128] if lowered_as_is(one) is not None]
    assert set("".join(text for text in PROBES if lowered_as_is(text) is not None)) >= set(ALONE + plain)
    assert sum(lowered_as_is(text) is None for text in PROBES) == 2
    assert not [one for one in ALONE if unicodedata.combining(one)]


def test_every_character_that_is_taken_is_in_a_token(tokenizer):
    """So a word has a token at least, and a text of more words than the context has places does not fit into it.

    This does not hold of all characters: the pattern passes over U+0345.
    """
    solid = "".join(one for one in EVERY[:128] + ALONE if lowered_as_is(one) is not None and not one.isspace()).lower()
    assert "".join(tokenizer.pat.findall(solid)) == solid


def test_words_without_a_token_fill_no_place(quick, tokenizer):
    assert_same(quick, tokenizer, ["\u0345 " * 100 + "dog", "dog " + "犬\u0345 " * 100, "a\u0345b \u0345"])


def test_spaces_end_every_token(tokenizer):
    for space in [one for one in EVERY if one.isspace() and not "\x1c" <= one <= "\x1f"]:
        assert tokenizer.pat.findall(f"<start{space}of_text>'{space}s a{space}1{space}!") == [
            *("<", "start", "of", "_", "text", ">'", "s", "a", "1", "!")
        ]


def test_words_are_forgotten_when_there_are_many(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizing, "_MOST_WORDS", 5)
    small, texts = made(tokenizer), [f"a dog{number} and {number} cats, " + "y" * 70 for number in range(40)]
    for text in texts:
        assert_same(small, tokenizer, [text, texts[0]])
        assert len(small._words) <= 5
    assert not any(len(word) > 64 for word in small._words)


def test_open_clips_own_cache_does_not_grow(tokenizer):
    kept = set(tokenizer.cache)
    made(tokenizer)(["an unheardofdogword", "ten &eacute;unheardofcats"])
    assert set(tokenizer.cache) == kept


def test_threads_may_tokenize_at_once(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizing, "_MOST_WORDS", 20)
    small, texts = made(tokenizer), [f"dog{number} &amp; cat{number % 7}’s" for number in range(300)]
    expected = tokenizer(texts).numpy()
    with ThreadPoolExecutor(4) as pool:
        for ids, _ in pool.map(small, [texts] * 40):
            assert np.array_equal(ids, expected)


symbols = st.text("ab", min_size=1, max_size=3)
pairs = st.tuples(symbols, st.tuples(symbols, st.sampled_from(["", "</w>"])).map("".join))


@given(st.lists(pairs, unique=True, max_size=12), st.lists(st.text("ab", min_size=1, max_size=11), max_size=4))
@example([("ab", "a"), ("a", "b")], ["ababa"])
@settings(max_examples=500, deadline=None)
def test_pairs_are_merged_as_open_clip_merges_them(tokenizer, merges, words):
    """Merges made up: with CLIP's own it hardly matters that all pairs of one kind are merged before another is."""
    other = copy.copy(tokenizer)
    letters = ["".join(word) for size in range(1, 12) for word in product("ab", repeat=size)]
    other.bpe_ranks = {pair: rank for rank, pair in enumerate(merges)}
    other.encoder = {symbol: number for number, symbol in enumerate([*letters, *(word + "</w>" for word in letters)])}
    other.cache = {}
    assert QuickTokenizer(other).encode(" ".join(words)) == other.encode(" ".join(words))


def test_no_text_and_the_empty_one(quick, tokenizer):
    assert [part.shape for part in quick([])] == [(0, 77), (0,)]
    assert_same(quick, tokenizer, ["", " ", "\x00"])


def test_other_tokenizers_go_on_by_themselves(tokenizer):
    kind = import_open_clip().SimpleTokenizer

    class Other(kind):
        pass

    others = [
        Other(),
        kind(clean="whitespace"),
        kind(clean="canonicalize"),
        kind(reduction_mask="simple"),
        kind(additional_special_tokens=["a b"]),
        with_context(tokenizer, 1),
        lambda texts, context_length=None: tokenizer(texts, context_length),
    ]
    assert [QuickTokenizer.of(other) for other in others] == [None] * len(others)


def test_a_model_takes_the_quick_way(tiny_model):
    model = load_model(tiny_model)
    tower = TextTower(model.network, model.tokenizer, PROBE_TEXTS)
    assert tower.quick is not None
    tokens = tower.tokenize(["It’s a dog", "dog " * 20])
    assert (tokens.ids == model.tokenizer(["It’s a dog", "dog " * 20])).all()
    assert tokens.cut.tolist() == [False, True]


def test_a_model_whose_tokenizer_differs_keeps_its_own(tiny_model):
    """Planted: open_clip cuts a word in two that its merges make one."""
    model = load_model(tiny_model)
    model.tokenizer.cache["photo"] = "ph oto</w>"
    tower = TextTower(model.network, model.tokenizer, PROBE_TEXTS)
    assert tower.quick is None
    assert (tower.tokenize(["a photo"]).ids == model.tokenizer(["a photo"])).all()


@pytest.mark.parametrize("character", ["~", " ", "&", "A", "…", "ü", "\xa0"])
def test_a_model_that_is_cleaned_otherwise_keeps_its_own(tiny_model, monkeypatch, character):
    """Planted: a later ftfy that mends one character more."""
    import ftfy

    model, fix_text = load_model(tiny_model), ftfy.fix_text
    monkeypatch.setattr(ftfy, "fix_text", lambda text: fix_text(text).replace(character, "dog"))
    tower = TextTower(model.network, model.tokenizer, PROBE_TEXTS)
    assert tower.quick is None
    assert (tower.tokenize([f"a {character} b"]).ids == model.tokenizer(["a dog b"])).all()


@pytest.mark.photos
def test_real_captions(data, quick, tokenizer):
    captions = []
    for path in sorted((data / "data" / "photos").glob("*/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.endswith(".json"):
                    sample = json.load(file)
                    captions += [sample["caption"], *sample.get("captions", [])]
    assert len(captions) > 5000
    assert_same(quick, tokenizer, captions)
