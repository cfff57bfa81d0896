"""Which captions of a batch name which concepts: the patterns of all concepts, laid out for one walk over each caption.

Not here: reading captions from a corpus (`counting.py`), what a token and a form are (`words.py`, `inflection.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tailwag.errors import BadInput

from ..concepts import Concept
from .inflection import forms
from .words import END, character_table, fold_character, parts_of, tokens

Rule = Literal["phrase", "words"]
RULES: tuple[Rule, ...] = ("phrase", "words")


@dataclass(frozen=True, eq=False)
class Matches:
    """What a batch of captions holds.

    Attributes
    ----------
    phrase, words
        (C,) int64: captions that name each concept, by either rule.
    empty_captions
        Captions without a word.
    rows, concepts
        (p,) int32, ascending by row and concept: which captions name which concepts, by the rule that was to be kept.
    """

    phrase: np.ndarray
    words: np.ndarray
    empty_captions: int
    rows: np.ndarray
    concepts: np.ndarray


class CaptionMatcher:
    """Finds concepts in batches of captions, by both rules at once.

    Parameters
    ----------
    concepts
        C concepts; the synonyms of each count as well.

    Raises
    ------
    BadInput
        When a name or synonym has no letter or digit; names all of them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> matcher = CaptionMatcher([Concept("golf ball"), Concept("man")])
    >>> found = matcher.match(pa.array(["Two golf balls", "a golf-ball", "men who play golf with a ball"]))
    >>> found.phrase.tolist(), found.words.tolist()
    ([1, 0], [3, 1])
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        from . import token_loops

        self._names = [[concept.name, *concept.synonyms] for concept in concepts]
        empty = [name for names in self._names for name in names if not words_of(name)]
        if empty:
            raise BadInput(
                f"{len(empty)} names have no letter or digit, and so cannot be looked for in captions: "
                + ", ".join(map(repr, empty[:5]))
            )
        self._loops = token_loops
        self._patterns = _lay_out(self._names)
        self._characters = character_table()
        folded = [fold_character(chr(code))[0] for code in range(128)]
        self._ascii_bytes = np.array([ord(character) for character, _ in folded], dtype=np.uint8)
        self._ascii_kinds = np.array([ord(kind) for _, kind in folded], dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._names)

    def match(self, captions: Any, keep: Rule | None = None) -> Matches:
        """Match a batch.

        Parameters
        ----------
        captions
            A `pyarrow.Array` of strings; null is as good as empty.
        keep
            The rule whose rows are wanted; None wants counts alone.
        """
        offsets, data = _buffers(captions)
        counts = np.zeros((2, len(self)), dtype=np.int64)
        empty, rows, concepts = self._loops.match_rows(
            data,
            offsets,
            self._ascii_bytes,
            self._ascii_kinds,
            self._characters,
            self._patterns,
            counts[0],
            counts[1],
            keep == "phrase",
            keep == "words",
        )
        return Matches(counts[0], counts[1], empty, rows, concepts)


def words_of(name: str) -> list[str]:
    """Give the words of a name, in order, each once."""
    return list(dict.fromkeys(token for token in tokens(name) if token != END))


def spellings(sequence: Sequence[str]) -> list[tuple[str, ...]]:
    """How may a name be written, as a phrase?

    As it is; with its compounds apart, ``t shirt`` for ``t-shirt``; without its punctuation, ``st bernard``.

    Parameters
    ----------
    sequence
        The name's tokens.

    Returns
    -------
    list[tuple[str, ...]]
        Sequences of tokens that begin and end with a word, each once.
    """
    found: list[tuple[str, ...]] = []
    for punctuated in (True, False):
        kept = [token for token in sequence if punctuated or token != END]
        while kept and kept[0] == END:
            kept = kept[1:]
        while kept and kept[-1] == END:
            kept = kept[:-1]
        found += [tuple(kept), tuple(part for token in kept for part in parts_of(token))]
    return list(dict.fromkeys(found))


def ways_to_say(word: str) -> list[tuple[str, ...]]:
    """In which sequences of tokens does a word occur in some form? Most are one token; compounds may be apart."""
    found: dict[tuple[str, ...], None] = {}
    for form in sorted(forms(word)):
        found[(form,)] = None
        found[tuple(parts_of(form))] = None
    return list(found)


def _lay_out(names: Sequence[Sequence[str]]) -> Any:
    """Lay out the patterns of all names; see `PatternTables`."""
    tree = _Tree()
    numbers: dict[str, int] = {}
    bags: dict[tuple[int, frozenset[int]], None] = {}
    for concept, own in enumerate(names):
        for name in own:
            for spelling in spellings(tokens(name)):
                tree.add(spelling, tree.phrases, concept)
            bag = frozenset(numbers.setdefault(word, len(numbers)) for word in words_of(name))
            bags[concept, bag] = None
    for word, number in numbers.items():
        for way in ways_to_say(word):
            tree.add(way, tree.words, number)
    return tree.tables(list(bags), len(numbers))


class _Tree:
    """The patterns as a tree of tokens, while it grows."""

    def __init__(self) -> None:
        self.tokens = {END: 0, "": 1}  # END_TOKEN and UNKNOWN_TOKEN of the loops; no pattern holds the empty token
        self.edges: dict[tuple[int, int], int] = {}
        self.phrases: dict[int, dict[int, None]] = {}
        self.words: dict[int, dict[int, None]] = {}
        self.nodes = 1

    def add(self, sequence: Sequence[str], targets: dict[int, dict[int, None]], target: int) -> None:
        """Let a sequence of tokens stand for a concept's phrase or a word."""
        node = 0
        for token in sequence:
            edge = node, self.tokens.setdefault(token, len(self.tokens))
            if edge not in self.edges:
                self.edges[edge] = self.nodes
                self.nodes += 1
            node = self.edges[edge]
        targets.setdefault(node, {})[target] = None

    def tables(self, bags: Sequence[tuple[int, frozenset[int]]], words: int) -> Any:
        """Lay the tree out as arrays, with the bags of words that stand for concepts."""
        from .token_loops import NO_ENTRY, PatternTables, edge_slot, hash_of

        encoded = [token.encode() for token in self.tokens]
        token_first = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in encoded], out=token_first[1:])
        token_bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        slots = np.full(_room_for(len(encoded)), NO_ENTRY, dtype=np.int32)
        for token in range(2, len(encoded)):
            wanted = int(hash_of(token_bytes, token_first[token], token_first[token + 1]))
            slots[_free(slots, wanted)] = token
        root = np.zeros(len(encoded), dtype=np.int32)
        edge_keys = np.full(_room_for(len(self.edges)), NO_ENTRY, dtype=np.int64)
        edge_nodes, has_edges = np.zeros(len(edge_keys), dtype=np.int32), np.zeros(self.nodes, dtype=np.bool_)
        for (node, token), after in self.edges.items():
            has_edges[node] = True
            if node == 0:
                root[token] = after
                continue
            key = node * len(encoded) + token
            slot = _free(edge_keys, int(edge_slot(key, len(edge_keys))))
            edge_keys[slot], edge_nodes[slot] = key, after
        phrase_first, phrases = _ragged([list(self.phrases.get(node, ())) for node in range(self.nodes)])
        word_first, word_targets = _ragged([list(self.words.get(node, ())) for node in range(self.nodes)])
        # A bag is looked at when its rarest word is there. Of that the names themselves tell enough.
        frequency = Counter(word for _, bag in bags for word in bag)
        by_word: list[list[int]] = [[] for _ in range(words)]
        for position, (_, bag) in enumerate(bags):
            by_word[min(bag, key=lambda word: (frequency[word], word))].append(position)
        bag_first, order = _ragged(by_word)
        anchors = np.repeat(np.arange(words), np.diff(bag_first))
        member_first, members = _ragged(
            [sorted(bags[bag][1] - {int(anchor)}) for bag, anchor in zip(order, anchors, strict=True)]
        )
        bag_concepts = np.array([bags[bag][0] for bag in order], dtype=np.int32)
        return PatternTables(
            slots,
            token_first,
            token_bytes,
            root,
            edge_keys,
            edge_nodes,
            has_edges,
            phrase_first,
            phrases,
            word_first,
            word_targets,
            bag_first,
            bag_concepts,
            member_first,
            members,
        )


def _room_for(entries: int) -> int:
    """Slots enough that most searches end at the first."""
    return 1 << (4 * entries + 1).bit_length()


def _free(keys: np.ndarray, wanted: int) -> int:
    slot = wanted & (len(keys) - 1)
    while keys[slot] != -1:
        slot = (slot + 1) & (len(keys) - 1)
    return slot


def _ragged(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    first = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=first[1:])
    return first, np.array([value for row in rows for value in row], dtype=np.int32)


def _buffers(captions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give the offsets and bytes of an arrow array of strings, without copying the bytes."""
    import pyarrow as pa

    wide = pa.types.is_large_string(captions.type)
    if not wide and not pa.types.is_string(captions.type):
        raise BadInput(f"captions are texts, and a column of {captions.type} was given")
    if captions.null_count:
        captions = captions.fill_null("")
    _, offsets, data = captions.buffers()
    if not len(captions):
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    kind = np.dtype(np.int64 if wide else np.int32)
    starts = np.frombuffer(offsets, dtype=kind, count=len(captions) + 1, offset=captions.offset * kind.itemsize)
    text = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.zeros(0, dtype=np.uint8)
    return starts.astype(np.int64), text
