"""The compiled loops of caption counting: cut captions into tokens, walk the patterns, note what was found.

One function goes through a batch; it follows `words.tokens` letter by letter. Not here: what the patterns are and how
they are laid out (`matching.py`). Everything is compiled for one thread and lets go of Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from .words import APOSTROPHE, BREAK, DIGIT, HYPHEN, LETTER, POINT, SLASH, SPACE, TABLE_END, CharacterTable
from .words import IDEOGRAPHS_END as _IDEOGRAPHS_END
from .words import UNSEEN_BEGIN as _UNSEEN_BEGIN
from .words import UNSEEN_END as _UNSEEN_END

_LETTER, _DIGIT, _SPACE, _BREAK, _HYPHEN, _SLASH, _APOSTROPHE, _POINT = map(
    ord, (LETTER, DIGIT, SPACE, BREAK, HYPHEN, SLASH, APOSTROPHE, POINT)
)
_CONTINUED = 0  # the kind of the second and later bytes of a letter
_S, _HYPHEN_BYTE = ord("s"), ord("-")
END_TOKEN, UNKNOWN_TOKEN = 0, 1
NO_ENTRY = -1
_OFFSET_BASIS, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
_SPREAD = np.uint64(11400714819323198485)


class PatternTables(NamedTuple):
    """All patterns as arrays: the tokens in them, the tree of their sequences, what each sequence stands for.

    Attributes
    ----------
    slots
        (power of two,) int32: tokens by hash, `NO_ENTRY` where there is none.
    token_first, token_bytes
        (V + 1,) int64, (b,) uint8: the tokens in UTF-8.
    root
        (V,) int32: the node after each first token, 0 where no pattern begins with it.
    edge_keys, edge_nodes
        (power of two,) int64 and int32: node times V plus token, and the node that comes after; by hash.
    has_edges
        (nodes,) bool.
    phrase_first, phrases
        (nodes + 1,), (p,) int32: the concepts whose phrase ends at each node.
    word_first, words
        (nodes + 1,), (w,) int32: the words of which a form ends at each node.
    bag_first, bag_concepts, member_first, members
        (W + 1,), (B,), (B + 1,), (m,) int32: for each word the bags that are looked at when it is there; each one's
        concept, and the other words that must be there too.
    """

    slots: np.ndarray
    token_first: np.ndarray
    token_bytes: np.ndarray
    root: np.ndarray
    edge_keys: np.ndarray
    edge_nodes: np.ndarray
    has_edges: np.ndarray
    phrase_first: np.ndarray
    phrases: np.ndarray
    word_first: np.ndarray
    words: np.ndarray
    bag_first: np.ndarray
    bag_concepts: np.ndarray
    member_first: np.ndarray
    members: np.ndarray


def _compiled(function: Callable) -> Callable[..., Any]:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is nowhere to keep it: it is compiled in every process
        return numba.njit(nogil=True)(function)


@_compiled
def hash_of(text: np.ndarray, start: int, stop: int) -> np.uint64:
    """FNV-1a of some bytes, spread once more, since its low bits are what slots are chosen by."""
    value = _OFFSET_BASIS
    for place in range(start, stop):
        value = (value ^ np.uint64(text[place])) * _PRIME
    return value ^ (value >> np.uint64(29))


@_compiled
def edge_slot(key: int, size: int) -> np.int64:
    """Where to look for an edge first."""
    spread = np.uint64(key) * _SPREAD
    return np.int64((spread >> np.uint64(32)) & np.uint64(size - 1))


@_compiled
def _find_token(
    text: np.ndarray, start: int, stop: int, slots: np.ndarray, token_first: np.ndarray, token_bytes: np.ndarray
) -> int:
    size = len(slots)
    slot = np.int64(hash_of(text, start, stop) & np.uint64(size - 1))
    while True:
        token = slots[slot]
        if token == NO_ENTRY:
            return UNKNOWN_TOKEN
        first = token_first[token]
        if token_first[token + 1] - first == stop - start:
            same = True
            for place in range(stop - start):
                if token_bytes[first + place] != text[start + place]:
                    same = False
                    break
            if same:
                return token
        slot = (slot + 1) & (size - 1)


@_compiled
def _fold(
    data: np.ndarray,
    start: int,
    stop: int,
    ascii_bytes: np.ndarray,
    ascii_kinds: np.ndarray,
    characters: CharacterTable,
    text: np.ndarray,
    text_kinds: np.ndarray,
) -> int:
    """Write a caption's characters in their plainest form, and their kinds; gives the number of bytes."""
    place, written = start, 0
    while place < stop:
        byte = data[place]
        if byte < 128:
            text[written] = ascii_bytes[byte]
            text_kinds[written] = ascii_kinds[byte]
            written += 1
            place += 1
            continue
        length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        length = min(length, stop - place)
        code = np.int64(byte) & (0x7F >> length)
        for later in range(1, length):
            code = (code << 6) | (np.int64(data[place + later]) & 0x3F)
        if code < TABLE_END:
            for piece in range(characters.first[code], characters.first[code + 1]):
                text_kinds[written] = characters.kinds[piece]
                for later in range(characters.lengths[piece]):
                    text[written + later] = characters.pieces[piece, later]
                    if later:
                        text_kinds[written + later] = _CONTINUED
                written += characters.lengths[piece]
        elif code < _IDEOGRAPHS_END:
            for later in range(length):
                text[written + later] = data[place + later]
                text_kinds[written + later] = _CONTINUED if later else _LETTER
            written += length
        elif not _UNSEEN_BEGIN <= code < _UNSEEN_END:
            text[written] = _BREAK
            text_kinds[written] = _BREAK
            written += 1
        place += length
    return written


@_compiled
def _is_word(kinds: np.ndarray, place: int, stop: int) -> bool:
    return place < stop and (kinds[place] == _LETTER or kinds[place] == _DIGIT)


@_compiled
def _cut(
    text: np.ndarray,
    kinds: np.ndarray,
    stop: int,
    joined: np.ndarray,
    tokens: np.ndarray,
    part_first: np.ndarray,
    part_last: np.ndarray,
    patterns: PatternTables,
) -> tuple[int, int]:
    """Cut folded text into tokens, by their numbers; gives how many there are, and how many of them are words."""
    place, found, word_count = 0, 0, 0
    while place < stop:
        kind = kinds[place]
        if kind in (_SPACE, _APOSTROPHE):
            place += 1
            continue
        if kind != _LETTER and kind != _DIGIT:
            if found == 0 or tokens[found - 1] != END_TOKEN:
                tokens[found] = END_TOKEN
                found += 1
            place += 1
            continue
        written, parts, whole = 0, 0, False
        while True:
            part_first[parts] = written
            letters, digits, apostrophe = 0, 0, -1
            while place < stop:
                kind = kinds[place]
                if kind == _LETTER:
                    letters += 1
                elif kind == _DIGIT:
                    digits += 1
                elif kind == _APOSTROPHE:
                    if not _is_word(kinds, place + 1, stop):
                        break
                    apostrophe = written
                    place += 1
                    continue
                elif kind == _POINT:
                    if kinds[place - 1] != _DIGIT or place + 1 >= stop or kinds[place + 1] != _DIGIT:
                        break
                elif kind != _CONTINUED:
                    break
                joined[written] = text[place]
                written += 1
                place += 1
            if apostrophe >= 0 and written == apostrophe + 1 and joined[apostrophe] == _S:
                written = apostrophe
                letters -= 1
            part_last[parts] = written
            parts += 1
            if digits > 0 or letters == 1:
                whole = True
            if (
                place < stop
                and (kinds[place] == _HYPHEN or kinds[place] == _SLASH)
                and _is_word(kinds, place + 1, stop)
            ):
                joined[written] = text[place]
                written += 1
                place += 1
                continue
            break
        if parts == 1 or whole:
            tokens[found] = _find_token(joined, 0, written, patterns.slots, patterns.token_first, patterns.token_bytes)
            found += 1
            word_count += 1
        else:
            for part in range(parts):
                tokens[found] = _find_token(
                    joined,
                    part_first[part],
                    part_last[part],
                    patterns.slots,
                    patterns.token_first,
                    patterns.token_bytes,
                )
                found += 1
            word_count += parts
    return found, word_count


@_compiled
def _next_node(node: int, token: int, vocabulary: int, edge_keys: np.ndarray, edge_nodes: np.ndarray) -> Any:
    key = np.int64(node) * vocabulary + token
    size = len(edge_keys)
    slot = edge_slot(key, size)
    while True:
        if edge_keys[slot] == key:
            return edge_nodes[slot]
        if edge_keys[slot] == NO_ENTRY:
            return 0
        slot = (slot + 1) & (size - 1)


@_compiled
def _doubled(array: np.ndarray) -> np.ndarray:
    longer = np.empty(2 * len(array), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


@_compiled
def _sort_last(array: np.ndarray, start: int, stop: int) -> None:
    """Sort the end of an array by insertion: it is a handful of numbers."""
    for right in range(start + 1, stop):
        value, left = array[right], right - 1
        while left >= start and array[left] > value:
            array[left + 1] = array[left]
            left -= 1
        array[left + 1] = value


@_compiled
def match_rows(
    data: np.ndarray,
    offsets: np.ndarray,
    ascii_bytes: np.ndarray,
    ascii_kinds: np.ndarray,
    characters: CharacterTable,
    patterns: PatternTables,
    phrase_counts: np.ndarray,
    word_counts: np.ndarray,
    keep_phrases: bool,
    keep_words: bool,
) -> tuple[int, np.ndarray, np.ndarray]:
    """Match a batch of captions, and add to the counts of both rules.

    Parameters
    ----------
    data, offsets
        (b,) uint8 and (n + 1,) int64: the captions in UTF-8, one after the other, and where each begins.
    ascii_bytes, ascii_kinds
        (128,) uint8: the folded form and kind of each ASCII character.
    characters
        `CharacterTable`.
    patterns
        `PatternTables`.
    phrase_counts, word_counts
        (C,) int64, added to.
    keep_phrases, keep_words
        Whether the rows that match by this rule are wanted; one of the two at most.

    Returns
    -------
    tuple
        How many captions hold no word, and (p,) int32 rows and concepts of the wanted rule, in order.
    """
    concepts, words = len(phrase_counts), len(patterns.bag_first) - 1
    vocabulary = np.int64(len(patterns.root))
    capacity = 1 << 12
    text, kinds = np.empty(capacity, dtype=np.uint8), np.empty(capacity, dtype=np.uint8)
    joined, tokens = np.empty(capacity, dtype=np.uint8), np.empty(capacity, dtype=np.int32)
    part_first, part_last = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
    # The last row in which each was seen: nothing has to be cleared between rows.
    phrase_seen, concept_seen = np.full(concepts, -1, dtype=np.int64), np.full(concepts, -1, dtype=np.int64)
    word_seen, row_words = np.full(words, -1, dtype=np.int64), np.empty(words, dtype=np.int32)
    rows, named, kept, empty = np.empty(1 << 12, dtype=np.int32), np.empty(1 << 12, dtype=np.int32), 0, 0
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        if (stop - start) * characters.growth + 1 > capacity:
            capacity = 2 * ((stop - start) * characters.growth + 1)
            text, kinds = np.empty(capacity, dtype=np.uint8), np.empty(capacity, dtype=np.uint8)
            joined, tokens = np.empty(capacity, dtype=np.uint8), np.empty(capacity, dtype=np.int32)
            part_first, part_last = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
        length = _fold(data, start, stop, ascii_bytes, ascii_kinds, characters, text, kinds)
        found, word_count = _cut(text, kinds, length, joined, tokens, part_first, part_last, patterns)
        empty += word_count == 0
        before, seen_words = kept, 0
        for begin in range(found):
            node, place = patterns.root[tokens[begin]], begin + 1
            while node > 0:
                for at in range(patterns.phrase_first[node], patterns.phrase_first[node + 1]):
                    concept = patterns.phrases[at]
                    if phrase_seen[concept] != row:
                        phrase_seen[concept] = row
                        phrase_counts[concept] += 1
                        if keep_phrases:
                            if kept == len(rows):
                                rows, named = _doubled(rows), _doubled(named)
                            rows[kept], named[kept] = row, concept
                            kept += 1
                for at in range(patterns.word_first[node], patterns.word_first[node + 1]):
                    word = patterns.words[at]
                    if word_seen[word] != row:
                        word_seen[word] = row
                        row_words[seen_words] = word
                        seen_words += 1
                if place == found or not patterns.has_edges[node]:
                    break
                node = _next_node(node, tokens[place], vocabulary, patterns.edge_keys, patterns.edge_nodes)
                place += 1
        for at in range(seen_words):
            word = row_words[at]
            for bag in range(patterns.bag_first[word], patterns.bag_first[word + 1]):
                concept = patterns.bag_concepts[bag]
                if concept_seen[concept] == row:
                    continue
                complete = True
                for member in range(patterns.member_first[bag], patterns.member_first[bag + 1]):
                    if word_seen[patterns.members[member]] != row:
                        complete = False
                        break
                if complete:
                    concept_seen[concept] = row
                    word_counts[concept] += 1
                    if keep_words:
                        if kept == len(rows):
                            rows, named = _doubled(rows), _doubled(named)
                        rows[kept], named[kept] = row, concept
                        kept += 1
        if kept - before > 1:
            _sort_last(named, before, kept)
    return empty, rows[:kept].copy(), named[:kept].copy()
