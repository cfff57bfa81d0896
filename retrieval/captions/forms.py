"""The forms of an English word: `dog` and `dogs`, `geese` and `goose`, `biking` and `bike`.

A lemmatiser's own dictionary turned round, and plurals by rule for what it does not know. Not here: what a word is
(`words.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache, lru_cache
from typing import Any

from .words import parts_of

# A singular that a rule would make of a word with such an ending is no word: bus, glass, iris.
_NO_PLURAL = ("ss", "us", "is")


@lru_cache(maxsize=1 << 16)
def forms(word: str) -> frozenset[str]:
    """Which tokens are this word, in any inflected form?

    The word itself; the words that it is a form of; all forms of these. Of a compound that stays whole (``t-shirt``)
    the last part is inflected. A word with a digit, and a single letter, has no other form.

    Parameters
    ----------
    word
        A token; see `words.tokens`.

    Returns
    -------
    frozenset[str]
        Tokens, the word among them.

    Examples
    --------
    >>> sorted(forms("men")), sorted(forms("auklet"))
    (['man', 'manned', 'manning', 'mans', 'men'], ['auklet', 'auklets'])
    >>> sorted(forms("t-shirts")), sorted(forms("737-800"))
    (['t-shirt', 't-shirts'], ['737-800'])
    """
    if len(word) == 1 or not word.isascii() or any(character.isdigit() for character in word):
        return frozenset({word})
    *first, last = parts_of(word)
    if first:
        before = word[: len(word) - len(last)]
        return frozenset({word, *(before + form for form in _noun_forms(last))})
    bases = _bases(word)
    found = {word, *bases}
    for base in bases:
        found.update(_forms_by_lemma().get(base, ()))
        found.update(_plural(base))
    return frozenset(found)


def _bases(word: str) -> set[str]:
    """What is this word a form of? Itself, too, unless it is surely only a form of others."""
    lemma = _lemmas().get(word)
    bases = {word}
    if lemma is not None and _is_form(word, lemma, _forms_by_lemma()):
        bases.add(lemma)
    if lemma != word and (singular := _singular(word)) is not None:
        bases.add(singular)
    return bases


def _noun_forms(word: str) -> set[str]:
    """Singular and plural alone, for the last part of a compound."""
    singular = _singular(word) if _lemmas().get(word) != word else None
    return {word, singular, *_plural(singular)} if singular is not None else {word, *_plural(word)}


def _is_form(word: str, lemma: str, turned: Mapping[str, Set[str]]) -> bool:
    """Say whether a word that the dictionary has as a form of another is to count as one.

    The dictionary knows one lemma a form, and `spoke` is to it a form of `speak`, `saw` of `see`. Where it knows forms
    of the word itself (`spokes`), it is a word of its own, unless its ending is a regular one (`biking`).
    """
    return _has_regular_ending(word, lemma) or turned.get(word, frozenset()) <= {word}


def _has_regular_ending(word: str, lemma: str) -> bool:
    stems = {lemma, lemma.removesuffix("e"), lemma + lemma[-1]}
    if lemma.endswith("y") and len(lemma) > 1:
        stems.add(lemma[:-1] + "i")
    return any(word == stem + ending for stem in stems for ending in ("s", "es", "ed", "d", "ing"))


@cache
def _lemmas() -> dict[str, str]:
    """The lemmatiser's dictionary, form to lemma, in lower case; forms that are no single word are left out."""
    from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory

    found: dict[str, str] = {}
    for form, lemma in DefaultDictionaryFactory().get_dictionary("en").items():
        if form.isalpha() and lemma.isalpha():
            # An entry that is in lower case already goes before a name that is not: `mark` before `Mark`.
            folded = form.casefold()
            if form == folded or folded not in found:
                found[folded] = lemma.casefold()
    return found


@cache
def _forms_by_lemma() -> dict[str, frozenset[str]]:
    turned: dict[str, set[str]] = {}
    for form, lemma in _lemmas().items():
        turned.setdefault(lemma, set()).add(form)
    return {
        lemma: frozenset(form for form in own if form == lemma or _is_form(form, lemma, turned))
        for lemma, own in turned.items()
    }


@cache
def _inflections() -> Any:
    import inflect

    return inflect.engine()


def _singular(word: str) -> str | None:
    """Give the singular of a plural by rule, such as `leaf` of `leaves`; None where there is none."""
    if word.endswith(_NO_PLURAL) or len(word) < 4:
        return None
    found = _inflections().singular_noun(word)
    return found if found and found[0] == word[0] and found != word else None


def _plural(word: str) -> set[str]:
    """Give the plural of a noun by rule; none for what is a plural itself."""
    if len(word) < 3 or (_lemmas().get(word) != word and _singular(word) is not None):
        return set()
    found = _inflections().plural_noun(word)
    # What is a plural already would be given a second ending: jeanss.
    return {found} if found and found[0] == word[0] and not found.endswith("ss") else set()
