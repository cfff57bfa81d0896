"""A threshold for each concept, learned from labels or taken from a null, with what it is worth and where it holds.

The record that travels with a threshold, and the choice of it by rule. Not here: the rules (`threshold_rules.py`), the
labelled rows (`labelled_rows.py`), reading a file of thresholds (`retrieval/thresholds.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tailwag.errors import BadInput

from ...embed.space import Space
from ...retrieval.counting.bins import EDGES, counts_at_edges
from ...retrieval.prototypes import PrototypeKind
from ...retrieval.thresholds import write_threshold_table
from .threshold_rules import (
    FOLDS,
    at_precision,
    best_f1,
    binomial_interval,
    equal_counts,
    fold_rows,
    null_edge,
    others_edges,
    shared_edge,
)

RuleName = Literal["equal-counts", "best-f1", "precision", "global", "others", "null"]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)
_VALUES: dict[RuleName, float] = {"precision": 0.9, "null": 0.1}
# Fewer labels of a concept say next to nothing of where it ends, and so does one class alone.
FEWEST_LABELS, FEWEST_OF_A_CLASS = 10, 2
# Thresholds shared by fewer concepts than this are the accident of one.
FEWEST_OTHERS = 3
# Below this share of rows the tail is not the null's: measured, a factor of hundreds at one in ten thousand.
LEAST_SHARE_OF_A_NULL = 1e-3


@dataclass(frozen=True)
class Rule:
    """How thresholds are chosen. Prints as it is written on the command line.

    Attributes
    ----------
    name
        One of `RULE_NAMES`.
    value
        Least precision, or the share of hits that a null may explain; nan for the other rules.
    """

    name: RuleName
    value: float = float("nan")

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}" if self.name in _VALUES else self.name

    @property
    def needs_labels(self) -> bool:
        """Whether there is no threshold without labels."""
        return self.name != "null"


def parse_rule(text: str) -> Rule:
    """Read a rule: ``equal-counts``, ``best-f1``, ``precision=0.9``, ``global``, ``others``, ``null`` or ``null=0.1``.

    Raises
    ------
    BadInput
        For anything else.

    Examples
    --------
    >>> str(parse_rule("precision=0.8")), str(parse_rule("null"))
    ('precision=0.8', 'null=0.1')
    """
    found = re.fullmatch(r"([a-z0-9-]+)(?:=(.+))?", text.strip())
    named: list[RuleName] = [one for one in RULE_NAMES if found is not None and one == found[1]]
    if found is None or not named or (found[2] is not None and named[0] not in _VALUES):
        raise BadInput(
            f"rule {text!r} is none of equal-counts, best-f1, precision=0.9, global, others and null: pass one of them"
        )
    name = named[0]
    if name not in _VALUES:
        return Rule(name)
    try:
        value = _VALUES[name] if found[2] is None else float(found[2])
    except ValueError:
        value = float("nan")
    if not 0 < value <= 1:
        raise BadInput(f"rule {text!r}: a {name} is a share above 0 and at most 1, such as {name}={_VALUES[name]:g}")
    return Rule(name, value)


@dataclass(frozen=True)
class Threshold:
    """A threshold of one concept, and what it did with labelled rows.

    Attributes
    ----------
    concept, threshold
        A row is a hit when its similarity is at least the threshold.
    source
        Where it came from, in words.
    shown, absent
        Labelled rows that show the concept, and that do not; both 0 where it has none of its own.
    hits, true_hits
        Of them those that are hits, and those of these that show it. For a rule on the concept's own labels each row is
        judged by a threshold that was chosen without it.
    """

    concept: str
    threshold: float
    source: str
    shown: int = 0
    absent: int = 0
    hits: int = 0
    true_hits: int = 0

    @property
    def recall(self) -> float:
        """Share of the rows that show the concept that are hits; nan without labels."""
        return self.true_hits / self.shown if self.shown else float("nan")

    @property
    def recall_interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, at 95 %."""
        return binomial_interval(self.true_hits, self.shown)

    @property
    def precision(self) -> float:
        """Share of the labelled hits that show the concept; nan without a hit."""
        return self.true_hits / self.hits if self.hits else float("nan")

    @property
    def precision_interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, at 95 %."""
        return binomial_interval(self.true_hits, self.hits)

    def as_dict(self) -> dict[str, Any]:
        """Give all of it by name; None for what is not known."""
        recall, precision = self.recall_interval, self.precision_interval
        return {
            "concept": self.concept,
            "threshold": self.threshold,
            "source": self.source,
            "labelled": self.shown + self.absent,
            "shown": self.shown,
            "hits": self.hits,
            "true_hits": self.true_hits,
            "recall": self.recall if self.shown else None,
            "recall_lower": recall[0] if self.shown else None,
            "recall_upper": recall[1] if self.shown else None,
            "precision": self.precision if self.hits else None,
            "precision_lower": precision[0] if self.hits else None,
            "precision_upper": precision[1] if self.hits else None,
        }


@dataclass(frozen=True)
class Thresholds:
    """Thresholds by one rule, and everything they hold for.

    Attributes
    ----------
    space, kind
        The space, and the kind of prototype.
    rule
        By which they were chosen.
    thresholds
        One a concept, of those that have one.
    left_out
        Concepts without one, and why.
    notes
        What to know before they are used, one sentence each.
    """

    space: Space
    kind: PrototypeKind
    rule: Rule
    thresholds: tuple[Threshold, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.thresholds)

    def __iter__(self) -> Iterator[Threshold]:
        return iter(self.thresholds)

    def save(self, path: str | Path) -> None:
        """Write the CSV that ``tailwag count --thresholds`` reads; what is not known is empty."""
        told = [one.as_dict() for one in self]
        names = [name for name in told[0] if name not in ("concept", "threshold", "source")]
        write_threshold_table(
            Path(path),
            [one.concept for one in self],
            np.array([one.threshold for one in self]),
            space=self.space,
            kind=self.kind,
            sources=[one.source for one in self],
            more={name: [_written(one[name]) for one in told] for name in names},
        )


def thresholds_from_labels(
    rule: Rule,
    concepts: Sequence[str],
    shown: np.ndarray,
    absent: np.ndarray,
    *,
    space: Space,
    kind: PrototypeKind,
    labels: str,
) -> Thresholds:
    """Choose thresholds by labelled rows.

    Parameters
    ----------
    rule
        - ``equal-counts``, ``best-f1``, ``precision``: each concept by its own labels.
        - ``global``: one for all, the least median of |log hits / true| over the labelled concepts.
        - ``others``: the same over all labelled concepts but the concept itself; concepts without labels get one too.
    concepts
        C names.
    shown, absent
        (C, BINS) int64: labelled rows that show each concept, and that do not, by similarity.
    space, kind
        What the similarities are of.
    labels
        Where the labels are from, in words.

    Returns
    -------
    Thresholds
        What labels are worth holds for rows like the labelled ones: with another share of rows that show a concept,
        hits and precision are others.

    Raises
    ------
    BadInput
        When the rule is the null's, no concept has labels enough, or too few have for a threshold that they share.
    """
    if not rule.needs_labels:
        raise BadInput("the null takes all rows of a corpus and no labels: see thresholds_from_null")
    reasons = [_too_few(*pair) for pair in zip(shown.sum(axis=1), absent.sum(axis=1), strict=True)]
    usable = np.array([not reason for reason in reasons])
    if not usable.any():
        raise BadInput(
            f"{labels}: no concept has labels enough for a threshold; {concepts[0]!r} has {reasons[0]}; label at least "
            f"{FEWEST_LABELS} rows of a concept, {FEWEST_OF_A_CLASS} of them yes and {FEWEST_OF_A_CLASS} no"
        )
    own = rule.name not in ("global", "others")
    left_out = [(name, reason) for name, reason in zip(concepts, reasons, strict=True) if reason and own]
    if not own and usable.sum() < FEWEST_OTHERS + (rule.name == "others"):
        raise BadInput(
            f"{labels}: {int(usable.sum())} concepts have labels enough, and a threshold that concepts share wants "
            f"{FEWEST_OTHERS + (rule.name == 'others')} or more: label others, or choose each by its own labels"
        )
    shared = None if own else _shared_edges(rule, shown + absent, shown.sum(axis=1), usable)
    chosen = []
    for position, name in enumerate(concepts):
        if own and not usable[position]:
            continue
        yes, no = shown[position], absent[position]
        edge = _own_edge(rule, yes, no) if shared is None else int(shared[position])
        if edge is None:
            left_out.append((name, f"no threshold has a precision of {rule.value:g}"))
            continue
        hits, found = _held_out(rule, yes, no) if own else _at(edge, yes, no)
        others = int(usable.sum()) - int(usable[position] and rule.name == "others")
        basis = f"{yes.sum() + no.sum():,} labelled rows, {yes.sum():,} of them yes" if own else f"{others} concepts"
        chosen.append(
            Threshold(
                name,
                float(EDGES[edge]),
                f"{rule} on {basis}; {labels}; {kind} prototypes",
                int(yes.sum()),
                int(no.sum()),
                hits,
                found,
            )
        )
    if not chosen:
        raise BadInput(f"{labels}: no concept has a threshold with a precision of {rule.value:g}: ask for less")
    return Thresholds(space, kind, rule, tuple(chosen), tuple(left_out))


def thresholds_from_null(
    rule: Rule, concepts: Sequence[str], rows: np.ndarray, *, space: Space, kind: PrototypeKind, corpus: str
) -> Thresholds:
    """Choose thresholds without a label, from what similarities would be if no row showed a concept: a bad idea.

    Parameters
    ----------
    rule
        The null's.
    concepts
        C names.
    rows
        (C, BINS) int64: all rows of a corpus by similarity.
    space, kind
        What the similarities are of.
    corpus
        Whose rows, in words.

    Raises
    ------
    BadInput
        When the null explains all hits of every concept.
    """
    chosen, left_out, rare = [], [], []
    for name, own in zip(concepts, rows, strict=True):
        edge = null_edge(own, rule.value)
        if edge is None:
            left_out.append((name, "a normal null explains its hits at every threshold"))
            continue
        hits = int(counts_at_edges(own)[edge])
        if hits < LEAST_SHARE_OF_A_NULL * own.sum():
            rare.append(name)
        chosen.append(Threshold(name, float(EDGES[edge]), f"{rule} of {corpus}; {kind} prototypes"))
    if not chosen:
        raise BadInput(f"a normal null explains all hits of the {len(concepts)} concepts in {corpus}: label some rows")
    notes = ["a null knows nothing of look-alikes, and the tail of similarities is thicker than a normal one"]
    if rare:
        notes.append(
            f"of {len(rare):,} of {len(chosen):,} concepts fewer than {LEAST_SHARE_OF_A_NULL:g} of the rows are hits; "
            f"there a null is off by factors, and the hits may all be false: {', '.join(map(repr, rare[:5]))}"
            + (f" and {len(rare) - 5:,} more" if len(rare) > 5 else "")
        )
    return Thresholds(space, kind, rule, tuple(chosen), tuple(left_out), tuple(notes))


def _too_few(shown: int, absent: int) -> str:
    total = int(shown + absent)
    if total < FEWEST_LABELS:
        return f"{total} label{'' if total == 1 else 's'}, under {FEWEST_LABELS}"
    if min(shown, absent) < FEWEST_OF_A_CLASS:
        return f"{int(shown)} labels that say yes and {int(absent)} that say no, and wants {FEWEST_OF_A_CLASS} of each"
    return ""


def _shared_edges(rule: Rule, rows: np.ndarray, true: np.ndarray, usable: np.ndarray) -> np.ndarray:
    edges = np.full(len(rows), shared_edge(rows[usable], true[usable]))
    if rule.name == "others":
        edges[usable] = others_edges(rows[usable], true[usable])
    return edges


def _own_edge(rule: Rule, shown: np.ndarray, absent: np.ndarray) -> int | None:
    if rule.name == "precision":
        return at_precision(shown, absent, rule.value)
    return equal_counts(shown, absent) if rule.name == "equal-counts" else best_f1(shown, absent)


def _held_out(rule: Rule, shown: np.ndarray, absent: np.ndarray) -> tuple[int, int]:
    """Hits and true hits, every fold at the threshold that the other four choose; none where they choose none."""
    hits = found = 0
    for fold in range(FOLDS):
        yes, no = fold_rows(shown, fold), fold_rows(absent, fold)
        edge = _own_edge(rule, shown - yes, absent - no)
        if edge is not None:
            some = _at(edge, yes, no)
            hits, found = hits + some[0], found + some[1]
    return hits, found


def _at(edge: int, shown: np.ndarray, absent: np.ndarray) -> tuple[int, int]:
    found = int(counts_at_edges(shown)[edge])
    return found + int(counts_at_edges(absent)[edge]), found


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
