"""The forms of an English word: `dog` and `dogs`, `geese` and `goose`, `biking` and `bike`.

A lemmatiser's own dictionary turned round, and plurals by rule for what it does not know. Not here: what a word is
(`words.py`).
"""

from __future__ import annotations

from functools import cache, lru_cache

from .words import parts_of

# A singular that a rule would make of a word with such an ending is no word: bus, glass, iris.
_NO_PLURAL = ("ss", "us", "is")
_TAKES_ES = ("sses", "xes", "zes", "ches", "shes")
# The nouns whose plural ends in -ves, and what is composed with them.
_F_TO_V = (
    *(
        "leaf",
        "loaf",
        "sheaf",
        "calf",
        "half",
        "shelf",
        "self",
        "elf",
        "wolf",
        "thief",
        "scarf",
        "hoof",
        "wharf",
        "dwarf",
    ),
    *("knife", "wife", "life"),
)
_VOWELS = frozenset("aeiouy")
_IRREGULAR = {"person": {"people"}}


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
        found.update(form for form in _forms_by_lemma().get(base, ()) if _is_form(form, base))
        found.update(_plurals(base))
    return frozenset(found)


def dictionary_lemma(word: str) -> str:
    """Give the lemma that the dictionary has for a word in lower case; the word itself where it has none."""
    return _lemmas().get(word, word)


def _bases(word: str) -> set[str]:
    """What is this word a form of? Itself, too, unless it is surely only a form of others."""
    lemma = _lemmas().get(word)
    bases = {word}
    if lemma is not None and _is_form(word, lemma):
        bases.add(lemma)
    return bases if lemma == word else bases | _singulars(word)


def _noun_forms(word: str) -> set[str]:
    """Singular and plural alone, for the last part of a compound."""
    singulars = _singulars(word) if _lemmas().get(word) != word else set()
    return {word}.union(singulars, *map(_plurals, singulars or {word}))


def _is_form(word: str, lemma: str) -> bool:
    """Say whether a word that the dictionary has as a form of another is to count as one.

    The dictionary knows one lemma a form, and `spoke` is to it a form of `speak`, `saw` of `see`. Where it knows forms
    of the word itself (`spokes`), it is a word of its own, unless its ending is a regular one (`biking`).
    """
    return _has_regular_ending(word, lemma) or _forms_by_lemma().get(word, set()) <= {word}


def _has_regular_ending(word: str, lemma: str) -> bool:
    stems = {lemma, lemma.removesuffix("e"), lemma + lemma[-1]}
    if lemma.endswith("y") and len(lemma) > 1:
        stems.add(lemma[:-1] + "i")
    return any(word == stem + ending for stem in stems for ending in ("s", "es", "ed", "d", "ing"))


@cache
def _lemmas() -> dict[str, str]:
    """The lemmatiser's dictionary, form to lemma, in lower case, without what is no word or is an abbreviation."""
    from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory

    found: dict[str, str] = {}
    for form, lemma in DefaultDictionaryFactory().get_dictionary("en").items():
        if form.isalpha() and lemma.isalpha() and not _is_abbreviation(form.casefold(), lemma):
            # An entry that is in lower case already goes before a name that is not: `mark` before `Mark`.
            folded = form.casefold()
            if form == folded or folded not in found:
                found[folded] = lemma.casefold()
    return found


def _is_abbreviation(form: str, lemma: str) -> bool:
    """Say whether the dictionary tells what a word is short for, as *drive* for `dr`: too much was left out of it."""
    return form != lemma and (len(form) + 2 < len(lemma) or _VOWELS.isdisjoint(form))


@cache
def _forms_by_lemma() -> dict[str, set[str]]:
    turned: dict[str, set[str]] = {}
    for form, lemma in _lemmas().items():
        turned.setdefault(lemma, set()).add(form)
    return turned


def _singulars(word: str) -> set[str]:
    """Of which nouns could this be the plural, by its ending?"""
    if len(word) < 4 or not word.endswith("s") or word.endswith(_NO_PLURAL):
        return set()
    if word.endswith("ves") and (found := {noun for noun in (word[:-3] + "f", word[:-3] + "fe") if _turns_to_v(noun)}):
        return found
    if word.endswith("ies") and len(word) > 4:
        return {word[:-3] + "y"}
    return {word[:-2] if word.endswith(_TAKES_ES) else word[:-1]}


def _plurals(word: str) -> set[str]:
    """Give the plural of a noun by its ending, besides those that the dictionary knows; none for a plural."""
    known = _lemmas()
    if len(word) < 3 or known.get(word, word) != word:
        return set()
    if word.endswith("s") and word not in known and not word.endswith(("ss", "us")):
        return set()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return {word + "es"}
    if word[-1] == "y" and word[-2] not in "aeiou":
        return {word[:-1] + "ies"}
    found = {word + "s"}
    if word.endswith("o") and word + "es" in known:
        found.add(word + "es")
    if word.endswith("man") and word not in known:
        found.add(word[:-3] + "men")
    if _turns_to_v(word):
        found.add(word.removesuffix("e")[:-1] + "ves")
    return found | _IRREGULAR.get(word, set())


def _turns_to_v(noun: str) -> bool:
    return noun.endswith(_F_TO_V)
