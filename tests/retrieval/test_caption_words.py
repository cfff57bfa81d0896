"""What is a word, and which forms it has."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.retrieval.captions.inflection import forms
from tailwag.retrieval.captions.words import END, TABLE_END, character_table, fold_character, parts_of, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A golf-ball", "a golf ball"),
        ("american-flag_black-and-white", "american flag black and white"),
        ("T-shirt, F-16A/B; F/A-18!", "t-shirt | f-16a/b | f/a-18 |"),
        ("737-800 DHC-8-100 x-ray", "737-800 dhc-8-100 x-ray"),
        ("golf-ball-2019", "golf-ball-2019"),
        ("dog's dogs' 'dog' o'clock 1990's", "dog dogs dog oclock 1990"),
        ("the dog’s Côte d’Ivoire", "the dog cote divoire"),
        ("café CAFÉ cafe\u0301 ﬁne Straße", "cafe cafe cafe fine strasse"),
        ("737–800 and 737\u2011800", "737-800 and 737-800"),
        ("red - green – blue -- white", "red | green | blue | white"),
        ("1,000 dogs. 16.4 km/h, .5", "1,000 dogs | 16.4 km/h | 5"),
        ("St. Bernard (dog)", "st | bernard | dog |"),
        ("LEGO® Star™", "lego star"),
        ("soft\u00adhyphen zero\u200bwidth\ufeff", "softhyphen zero width"),
        ("٣ ½ m²", "3 1/2 m2"),
        ("日本語 🐕 Ἀθῆναι", "日本語 | αθηναι"),
        ("\U00020000\U000e0041 \U000f0000", "\U00020000 |"),
        ("\U0002f800 \U00030000", "\u4e3d \U00030000"),
        ("", ""),
        ("...", "|"),
    ],
)
def test_a_text_is_cut_into_these_tokens(text, expected):
    assert tokens(text) == expected.split()


@settings(deadline=None)
@given(st.text())
def test_tokens_of_tokens_are_the_same(text):
    once = tokens(text)
    assert [one for token in once if token != END for one in tokens(token)] == [one for one in once if one != END]
    assert all(once) and (END, END) not in set(pairwise(once))


@settings(deadline=None)
@given(st.text())
def test_case_and_the_composition_of_accents_make_no_difference(text):
    assert tokens(text) == tokens(text.casefold()) == tokens(unicodedata.normalize("NFC", text))


@settings(deadline=None)
@given(st.characters(max_codepoint=TABLE_END - 1, exclude_categories=["Cs"]))
def test_the_table_of_characters_says_what_is_defined(character):
    table, code = character_table(), ord(character)
    pieces = range(table.first[code], table.first[code + 1])
    found = [(bytes(table.pieces[one, : table.lengths[one]]).decode(), chr(table.kinds[one])) for one in pieces]
    assert tuple(found) == fold_character(character)
    assert sum(int(table.lengths[one]) for one in pieces) <= table.growth * len(character.encode())


@pytest.mark.parametrize(
    ("word", "has", "has_not"),
    [
        ("dog", "dogs", "doge"),
        ("men", "man", "woman"),
        ("goose", "geese", "moose"),
        ("leaf", "leaves", "leave"),
        ("leaves", "leaf leave", "left"),
        ("knives", "knife", "knive"),
        ("person", "people persons", "personal"),
        ("biking", "bike biked bikes", "biker hike"),
        ("braided", "braid braiding", "bread"),
        ("auklet", "auklets", "auk"),
        ("auklets", "auklet", ""),
        ("acura", "acuras", ""),
        ("bus", "buses", "bu"),
        ("glass", "glasses", "glas"),
        ("news", "", "new"),
        ("iris", "irises", "iri"),
        ("rose", "roses", "rise risen"),
        ("dove", "doves", "dive diving"),
        ("saw", "saws sawing", "see seen"),
        ("see", "sees seeing seen", "saw"),
        ("ground", "grounds", "grind"),
        ("german", "germans", "germen"),
        ("oman", "", "omen"),
        ("cafe", "cafes", "caves"),
        ("safe", "safes", "saves"),
        ("potato", "potatoes", ""),
        ("us", "", "u uss"),
        ("dr", "", "drive drives"),
        ("light", "lights lighting", "lgt lgts"),
        ("t-shirt", "t-shirts", "shirt shirts t"),
        ("t-shirts", "t-shirt", "shirt"),
        ("x-ray", "x-rays", "ray"),
    ],
)
def test_a_word_has_these_forms_and_not_those(word, has, has_not):
    found = forms(word)
    assert {word, *has.split()} <= found
    assert found.isdisjoint(has_not.split())


@pytest.mark.parametrize("word", ["2012", "737-800", "f-16a/b", "b", "日本語", "16.4", "1,000"])
def test_a_number_a_letter_and_a_word_of_another_script_have_no_other_form(word):
    assert forms(word) == {word}


@settings(deadline=None)
@given(st.sampled_from(["cat", "dogs", "running", "leaves", "t-shirts", "acura", "news", "boxes", "geese", "painting"]))
def test_every_form_is_a_token_and_has_the_word_s_parts(word):
    for form in forms(word):
        assert tokens(form) == [form]
        assert parts_of(form)[:-1] == parts_of(word)[:-1]
