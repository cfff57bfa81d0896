"""Captions and names as tokens: what is one word, what is as good as a space, what ends a phrase.

`tokens` is the definition; the compiled loops of `token_loops.py` follow it over many captions at once, by the table of
characters made here. Not here: the forms of a word (`inflection.py`), which tokens name a concept (`matching.py`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# The kinds of characters. A text is folded to characters and their kinds first; tokens are cut by the kinds alone.
LETTER, DIGIT, SPACE, BREAK, HYPHEN, SLASH, APOSTROPHE, POINT = "a0 |-/'."
# In a list of tokens: sentence punctuation, across which no phrase goes. No token of a text is equal to it.
END = "|"

_AS_SPACE = frozenset("_\u200b™℠®©")
_AS_HYPHEN = frozenset("-\u2010\u2011\u2012\u2013\u2212")
_AS_APOSTROPHE = frozenset("'\u2018\u2019\u02bc`\u00b4\u1ffd")
_AS_SLASH = frozenset("/\u2044\u2215")
_AS_POINT = frozenset(".,")
# Accents and what else is written over, under or about a letter; and variation selectors.
_MARKS = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F))
# Beyond these ideographs, which stand for others, there are more, marks that are not seen, and private characters.
TABLE_END, IDEOGRAPHS_END, UNSEEN_BEGIN, UNSEEN_END = 0x2FA20, 0x40000, 0xE0000, 0xF0000

# Letters and digits; an apostrophe between them; a point or comma between digits.
_PART = r"[a0](?:'?[a0]|(?<=0)\.0)*"
_CHUNKS = re.compile(rf"{_PART}(?:[-/]{_PART})*|[|./-]")
_CONNECTORS = re.compile(r"[-/]")
_DIGITS = frozenset("0123456789")


@lru_cache(maxsize=1 << 12)
def fold_character(character: str) -> tuple[tuple[str, str], ...]:
    """Give what stands for one character: lower case, without accents, in its plainest form, each with its kind.

    Case folding and Unicode's compatibility decomposition (NFKD), character by character, with combining diacritical
    marks and characters that are not seen left out.

    Returns
    -------
    tuple[tuple[str, str], ...]
        Characters and their kinds; nothing for a character that is left out.

    Examples
    --------
    >>> fold_character("É"), fold_character("ﬁ"), fold_character("–")
    ((('e', 'a'),), (('f', 'a'), ('i', 'a')), (('-', '-'),))
    """
    code = ord(character)
    if code >= TABLE_END:
        if code < IDEOGRAPHS_END:
            return ((character, LETTER),)
        return () if UNSEEN_BEGIN <= code < UNSEEN_END else ((END, BREAK),)
    if (special := _special_kind(character)) is not None:
        return (special,)
    category = unicodedata.category(character)
    if category in ("Cn", "Co", "Cs"):
        return ((END, BREAK),)
    if category == "Lo" and not 0xAC00 <= code <= 0xD7A3 and not unicodedata.decomposition(character):
        return ((character, LETTER),)  # a letter without case; Hangul falls apart by a rule
    plain = character
    for _ in range(2):  # what casefold makes may fall apart further
        plain = unicodedata.normalize("NFKD", plain.casefold())
    found = []
    for one in plain:
        kind = _special_kind(one) or _plain_kind(one)
        if kind is not None:
            found.append(kind)
    return tuple(found)


def tokens(text: str) -> list[str]:
    """Cut a text into words.

    Letters and digits make words. ``_`` and quotation by apostrophes are as good as a space; a hyphen or slash between
    words is too, but a compound with a digit or a part of one letter stays whole. A possessive ``'s`` is cut off, any
    other apostrophe inside a word is left out. All else ends a phrase: it becomes the token `END`, one for a run of it.

    Parameters
    ----------
    text
        A caption, or a concept's name.

    Returns
    -------
    list[str]
        Words, folded by `fold_character`, and `END`.

    Examples
    --------
    >>> tokens("The dog's Golf-Ball, on a T-shirt")
    ['the', 'dog', 'golf', 'ball', '|', 'on', 'a', 't-shirt']
    >>> tokens("an F-16A/B and 1,000 cafés")
    ['an', 'f-16a/b', 'and', '1,000', 'cafes']
    """
    folded = [one for character in text for one in fold_character(character)]
    characters = "".join(one for one, _ in folded)
    kinds = "".join(kind for _, kind in folded)
    found: list[str] = []
    for chunk in _CHUNKS.finditer(kinds):
        start, stop = chunk.span()
        if kinds[start] not in (LETTER, DIGIT):
            if not found or found[-1] != END:
                found.append(END)
            continue
        cuts = [start - 1, *(start + cut.start() for cut in _CONNECTORS.finditer(chunk[0])), stop]
        parts = [_without_apostrophes(characters[before + 1 : after]) for before, after in pairwise(cuts)]
        if len(parts) > 1 and any(len(part) == 1 or not _DIGITS.isdisjoint(part) for part in parts):
            connectors = [characters[cut] for cut in cuts[1:-1]]
            found.append(parts[0] + "".join(map("".join, zip(connectors, parts[1:], strict=True))))
        else:
            found += parts
    return found


def parts_of(token: str) -> list[str]:
    """Give the parts of a compound that stays whole: ``["f", "16a", "b"]`` of ``f-16a/b``; of others themselves."""
    return _CONNECTORS.split(token)


class CharacterTable(NamedTuple):
    """`fold_character` for every character below `TABLE_END`, as arrays that compiled loops can read.

    Attributes
    ----------
    first
        (TABLE_END + 1,) int32: where the pieces of each character begin.
    kinds
        (n,) uint8: the kinds of the pieces.
    lengths
        (n,) uint8: their lengths in bytes of UTF-8.
    pieces
        (n, 4) uint8: those bytes.
    growth
        How many bytes one byte of a text may become at most.
    """

    first: np.ndarray
    kinds: np.ndarray
    lengths: np.ndarray
    pieces: np.ndarray
    growth: int


@cache
def character_table() -> CharacterTable:
    """Make the table of characters; a fifth of a second, once in a process."""
    first = np.zeros(TABLE_END + 1, dtype=np.int32)
    kinds, lengths, pieces, growth = bytearray(), bytearray(), bytearray(), 1
    for code in range(TABLE_END):
        if not 0xD800 <= code < 0xE000:  # surrogates are in no text
            character, begin = chr(code), len(lengths)
            for piece, kind in fold_character.__wrapped__(character):
                encoded = piece.encode()
                kinds.append(ord(kind))
                lengths.append(len(encoded))
                pieces += encoded.ljust(4, b"\0")
            growth = max(growth, -(-sum(lengths[begin:]) // len(character.encode())))
        first[code + 1] = len(lengths)
    as_array = [np.frombuffer(bytes(one), dtype=np.uint8) for one in (kinds, lengths, pieces)]
    return CharacterTable(first, as_array[0], as_array[1], as_array[2].reshape(-1, 4), growth)


def _without_apostrophes(part: str) -> str:
    stem, apostrophe, rest = part.rpartition("'")
    return (stem if apostrophe and rest == "s" else part).replace("'", "")


def _special_kind(character: str) -> tuple[str, str] | None:
    """Give a character that stands for another, whatever Unicode makes of it, with its kind; None for all others."""
    if character in _AS_SPACE:
        return " ", SPACE
    if character in _AS_HYPHEN:
        return "-", HYPHEN
    if character in _AS_APOSTROPHE:
        return "'", APOSTROPHE
    if character in _AS_SLASH:
        return "/", SLASH
    return (character, POINT) if character in _AS_POINT else None


def _plain_kind(character: str) -> tuple[str, str] | None:
    """Give a character that is in its plainest form, with its kind; None where it is left out."""
    code, category = ord(character), unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character)), DIGIT
    if category[0] == "M":
        return None if any(low <= code <= high for low, high in _MARKS) else (character, LETTER)
    if category[0] in "LN":
        return character, LETTER
    if category == "Cf":
        return None
    return (" ", SPACE) if category[0] == "Z" or category == "Cc" else (END, BREAK)
