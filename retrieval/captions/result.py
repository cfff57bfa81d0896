"""What a count of captions comes to: typed records that print as sentences and turn into arrow tables.

Not here: how it is counted (`counting.py`), printing tables and writing files (`retrieval/result_tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..counting.query import Mentions
from ..counting.result import format_share


@dataclass(frozen=True)
class CaptionCount:
    """How many captions name one concept. Prints as a sentence.

    Attributes
    ----------
    concept
        Its name.
    phrase
        Captions that hold the name as it is written, or a synonym.
    words
        Captions that hold all words of the name in any form, anywhere, or those of a synonym.
    paper
        Captions that the frequency paper's procedure finds; None where that was not asked for.
    rows
        Captions that were looked through.
    corpus, corpus_version, control
        What was counted; the control is empty when all rows were.
    """

    concept: str
    phrase: int
    words: int
    paper: int | None
    rows: int
    corpus: str
    corpus_version: int
    control: str = ""

    def __str__(self) -> str:
        share = format_share(self.words / self.rows if self.rows else 0.0)
        sentence = (
            f"{self.words:,} of {self.rows:,} {'caption' if self.rows == 1 else 'captions'} ({share}) "
            f'{"has" if self.words == 1 else "have"} all words of "{self.concept}" in some form, and {self.phrase:,} '
            f"{'has' if self.phrase == 1 else 'have'} it as a phrase, in corpus '{self.corpus}' "
            f"(version {self.corpus_version})"
        )
        if self.control:
            sentence += f" among the rows with {self.control}"
        if self.paper is not None:
            sentence += f"; the frequency paper's search would find {self.paper:,}"
        return sentence + "."


@dataclass(frozen=True, eq=False)
class CaptionCounts:
    """How many captions name each of C concepts, by either rule.

    Attributes
    ----------
    corpus, corpus_version, control
        What was counted; the control is empty when all rows were.
    rows, empty_captions
        Captions that were looked through, and those of them that hold no word.
    concepts
        C names.
    phrase, words
        (C,) int64; see `CaptionCount`. Never is a phrase count greater than that of the words.
    paper
        (C,) int64: what the frequency paper's procedure counts; None where that was not asked for.
    mentions
        The rows that name the concepts by the rule `keep`; None where none were kept.
    keep
        ``"words"``, ``"phrase"``, or None.
    seconds
        How long it took.
    """

    corpus: str
    corpus_version: int
    rows: int
    empty_captions: int
    concepts: tuple[str, ...]
    phrase: np.ndarray
    words: np.ndarray
    paper: np.ndarray | None
    mentions: Mentions | None
    keep: Literal["phrase", "words"] | None
    seconds: float
    control: str = ""

    def __len__(self) -> int:
        return len(self.concepts)

    def __getitem__(self, position: int) -> CaptionCount:
        """Give the counts of one concept."""
        position = range(len(self))[position]
        return CaptionCount(
            self.concepts[position],
            int(self.phrase[position]),
            int(self.words[position]),
            None if self.paper is None else int(self.paper[position]),
            self.rows,
            self.corpus,
            self.corpus_version,
            self.control,
        )

    def __iter__(self) -> Iterator[CaptionCount]:
        return (self[position] for position in range(len(self)))

    def __str__(self) -> str:
        named = int(np.count_nonzero(self.words))
        concepts = "concept" if len(self) == 1 else "concepts"
        empty = ""
        if self.empty_captions:
            empty = f"; {self.empty_captions:,} {'holds' if self.empty_captions == 1 else 'hold'} no word"
        return (
            f"{named:,} of {len(self):,} {concepts} {'is' if named == 1 else 'are'} named in the {self.rows:,} captions"
            f" of corpus '{self.corpus}' (version {self.corpus_version})"
            f"{f' with {self.control}' if self.control else ''}{empty}."
        )

    def to_arrow(self) -> Any:
        """Give the counts as a `pyarrow.Table`, one row a concept."""
        import pyarrow as pa

        size = len(self)
        columns: dict[str, Any] = {
            "corpus": [self.corpus] * size,
            "corpus_version": pa.array([self.corpus_version] * size, pa.int64()),
            "concept": list(self.concepts),
            "control": [self.control] * size,
            "phrase": pa.array(self.phrase),
            "words": pa.array(self.words),
            "rows": pa.array([self.rows] * size, pa.int64()),
        }
        if self.paper is not None:
            columns["paper"] = pa.array(self.paper)
        return pa.table(columns)
