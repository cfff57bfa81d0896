"""The frequency paper's own search of captions, with its faults, so that its counts can be understood and compared.

"No 'Zero-Shot' Without Exponential Data" (Udandarao et al. 2024), `text_search_inverted_index_get_word_dictionaries.py`
and `text_search_matches_inverted_index.py` of its repository. Not here: how tailwag counts (`matching.py`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from .inflection import dictionary_lemma
from .nouns import NOUN_TAGS, english_tagger

# Where spaCy cuts an English text, nearly: at white space and punctuation, inside words at slashes, at hyphens between
# letters or between digits, and before 's.
_PIECES = re.compile(r"[^\W_]+(?:(?:[.,](?=\d)|(?<=\d)-(?=[^\W\d_])|(?<=[^\W\d_])-(?=\d))[^\W_]+)*|'s\b|’s\b")
_NOT_LETTERS = re.compile(r"[^A-Za-z ]")
_QUERY_SEPARATORS = re.compile(r"[_\s]+")
# Single letters and what is no known word: spaCy takes most of them for names.
_AS_NAMES = frozenset({"NP0", "ZZ0", "UNC"})
_LONGEST_WORD = 40  # the tagger's work grows with the square of a word's length


class PaperIndex:
    """The inverted index of the paper: from the lemmas of nouns to captions, for the words of some concepts alone.

    What it does, in the paper's order: of each caption, the lemma of every noun and name goes into the index, without
    what is no letter, in the case that the lemmatiser leaves it in. A concept is lower-cased and cut at spaces and
    underscores; each word is lemmatised by itself, and of one that falls into pieces only the last piece's lemma stays.
    Words that no caption has are left out; a concept counts where all others meet.

    The paper's nouns and lemmas are spaCy's (`en_core_web_lg`). Here a word is a noun when it is one taken by itself
    (HanTa's most probable tag), whatever its sentence; the lemma of a plural is simplemma's.

    Parameters
    ----------
    names
        C names of concepts; the paper knows no synonyms.

    Examples
    --------
    >>> index = PaperIndex(["golf-ball", "Georgia", "2012 sedan"])
    >>> index.add(["a ball", "two balls in Georgia", "sedan of 2011"])
    >>> index.counts().tolist()
    [2, 0, 1]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._queries = [query_words(name) for name in names]
        self._postings = {word: array("q") for query in self._queries for word in query}
        self._rows = 0

    def add(self, captions: Iterable[str | None]) -> None:
        """Take in the next captions."""
        for caption in captions:
            for word in index_words(caption or ""):
                if word in self._postings:
                    self._postings[word].append(self._rows)
            self._rows += 1

    def counts(self) -> np.ndarray:
        """In how many captions does the paper find each concept?

        Returns
        -------
        numpy.ndarray
            (C,) int64.
        """
        found = np.zeros(len(self._queries), dtype=np.int64)
        rows = {word: np.array(posted, dtype=np.int64) for word, posted in self._postings.items() if posted}
        for concept, query in enumerate(self._queries):
            known = sorted((rows[word] for word in set(query) if word in rows), key=len)
            if known:
                common = known[0]
                for other in known[1:]:
                    common = np.intersect1d(common, other, assume_unique=True)
                found[concept] = len(common)
        return found


def index_words(caption: str) -> set[str]:
    """Under which words does the paper's index file a caption?

    Examples
    --------
    >>> sorted(index_words("Two golf-balls and a braided leash, 2012"))
    ['ball', 'golf', 'leash']
    """
    return {_index_word(piece) for piece in pieces_of(caption)} - {""}


def pieces_of(caption: str) -> list[str]:
    """Cut a caption as the paper's tagger does, nearly; words of more than 40 letters are left out."""
    return [piece for piece in _PIECES.findall(caption) if len(piece) <= _LONGEST_WORD]


def is_noun(piece: str) -> bool:
    """Say whether a piece is a noun or a name, taken by itself."""
    return _tag(piece) in NOUN_TAGS | _AS_NAMES


def query_words(name: str) -> list[str]:
    """For which words does the paper look, for a concept?

    Examples
    --------
    >>> query_words("F-16A/B"), query_words("golf-balls"), query_words("2012_Acura TL")
    (['b'], ['ball'], ['2012', 'acura', 'tl'])
    """
    words = [_PIECES.findall(term)[-1:] for term in _QUERY_SEPARATORS.split(name.lower())]
    return [_lemma(word[0], _tag(word[0])) for word in words if word]


@lru_cache(maxsize=1 << 18)
def _index_word(piece: str) -> str:
    return _NOT_LETTERS.sub("", _lemma(piece, _tag(piece))) if is_noun(piece) else ""


@lru_cache(maxsize=1 << 16)
def _tag(piece: str) -> str:
    if not piece[0].isalpha():
        return ""
    tags = english_tagger().tag_word(piece)
    return tags[0][0] if tags else ""


def _lemma(piece: str, tag: str) -> str:
    if tag in _AS_NAMES:
        return piece
    word = piece.lower()
    return word if tag in ("NN0", "NN1") else dictionary_lemma(word)
