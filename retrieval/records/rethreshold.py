"""Counts at new thresholds from saved histograms: exact at the edges of bins, bracketed between them.

Not here: saving histograms (`saved_histograms.py`). Neither vectors nor a model are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound

from ...embed.corpus import Corpus, Side
from ...embed.space import Space
from ..centring import kind_of, making_of
from ..concepts import fold
from ..counting import check_thresholds
from ..counting.bins import EDGES, counts_at_edges
from .certificate import state_of
from .saved_histograms import read_histograms, saved_prototypes

_MOST_NAMED = 5


@dataclass(frozen=True)
class Bracket:
    """How many rows reach one threshold for one concept: `count`, or where that is None `lower` to `upper`."""

    concept: str
    recipe: str
    threshold: float
    threshold_source: str
    count: int | None
    lower: int
    upper: int


@dataclass(frozen=True, eq=False)
class Rethresholded:
    """The counts of C concepts at T thresholds, as saved histograms give them.

    Attributes
    ----------
    corpus, corpus_version, space, side, control
        What was counted when the histograms were saved.
    newest_version
        The corpus's newest version; greater than `corpus_version` where the answer is stale.
    rows, failures
        Rows that were compared, and samples that could not be embedded, None where that was not known.
    concepts, recipes, runs
        C texts: the concepts, how their prototypes were made, the runs that saved them.
    thresholds, threshold_sources
        (C, T) float64 and C texts.
    lower, upper
        (C, T) int64: the count lies between them, both included. They are equal at the edges of bins, which are the
        thousandths.
    other_recipes
        Concepts for which no prototype of the recipe that was asked for is saved, and the only saved one answers.
    gone
        Whether the version that was counted has been cleaned up, so that its rows cannot be looked at any more.
    """

    corpus: str
    corpus_version: int
    newest_version: int
    space: Space
    side: Side
    control: str
    rows: int
    failures: int | None
    concepts: tuple[str, ...]
    recipes: tuple[str, ...]
    runs: tuple[str, ...]
    thresholds: np.ndarray
    threshold_sources: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    other_recipes: tuple[str, ...] = ()
    gone: bool = False

    def __len__(self) -> int:
        return self.lower.size

    def __iter__(self) -> Iterator[Bracket]:
        for concept, column in np.ndindex(self.lower.shape):
            lower, upper = int(self.lower[concept, column]), int(self.upper[concept, column])
            yield Bracket(
                self.concepts[concept],
                self.recipes[concept],
                float(self.thresholds[concept, column]),
                self.threshold_sources[concept],
                lower if lower == upper else None,
                lower,
                upper,
            )

    @property
    def stale(self) -> bool:
        """Whether the corpus has a newer version than the one that was counted."""
        return self.newest_version > self.corpus_version

    @property
    def between_edges(self) -> int:
        """How many of the counts are known only to lie between two numbers."""
        return int((self.lower != self.upper).sum())

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table`: the columns of `CountResult.to_arrow`, and lower, upper, run.

        `count` and `share` are null where the count lies between lower and upper.
        """
        import pyarrow as pa

        size = len(self)
        entries = list(self)
        runs = np.repeat(np.array(self.runs), self.lower.shape[1])
        return pa.table(
            {
                "corpus": pa.array([self.corpus] * size, pa.string()),
                "corpus_version": pa.array([self.corpus_version] * size, pa.int64()),
                "concept": pa.array([one.concept for one in entries], pa.string()),
                "side": pa.array([self.side] * size, pa.string()),
                "control": pa.array([self.control] * size, pa.string()),
                "recipe": pa.array([one.recipe for one in entries], pa.string()),
                "threshold": pa.array([one.threshold for one in entries], pa.float64()),
                "threshold_source": pa.array([one.threshold_source for one in entries], pa.string()),
                "count": pa.array([one.count for one in entries], pa.int64()),
                "rows": pa.array([self.rows] * size, pa.int64()),
                "share": pa.array([share(one.count, self.rows) for one in entries], pa.float64()),
                "lower": pa.array([one.lower for one in entries], pa.int64()),
                "upper": pa.array([one.upper for one in entries], pa.int64()),
                "run": pa.array(runs.tolist(), pa.string()),
            }
        ).replace_schema_metadata(
            {"tailwag:space": self.space.to_json(), "tailwag:newest_version": str(self.newest_version)}
        )


def share(count: int | None, rows: int) -> float | None:
    """Give a count as a share of the rows; 0 where there are none, None where the count is not known."""
    return None if count is None else count / rows if rows else 0.0


def rethreshold(
    corpus: Corpus,
    concepts: Sequence[str],
    thresholds: np.ndarray | Sequence[float] | float,
    side: Side = "image",
    threshold_sources: Sequence[str] | str = "given",
    *,
    control: str = "",
    recipes: Sequence[str] | None = None,
    only_these_recipes: bool = False,
    any_version: bool = True,
) -> Rethresholded:
    """How many rows lie at or above new thresholds, by the histograms that are saved?

    Neither vectors nor a model are read. At an edge of the bins, which are the thousandths, the answer is exact;
    between two edges the count lies between the counts at both.

    Parameters
    ----------
    corpus
        The corpus.
    concepts
        C names; case, ``_`` and ``-`` are disregarded.
    thresholds
        One number, (T,) shared by all concepts, or (C, T).
    side, control
        What was counted.
    threshold_sources
        One text a concept, or one for all.
    recipes
        How each concept's prototype is to have been made, whatever the reason. Where none such is saved, and all that
        are saved for the concept and are of the same kind (plain or centred) are one and the same, that one answers.
        None takes the only one.
    only_these_recipes
        Refuse such stand-ins.
    any_version
        Answer for the newest version at which all concepts are saved; else only for the corpus's own.

    Returns
    -------
    Rethresholded
        Which version it holds for, and whether the corpus has a newer one, stand in it.

    Raises
    ------
    NotFound
        For a concept that is not saved; names what is.
    BadInput
        For thresholds that cannot be used, and for a concept of which several prototypes are saved, none as asked for.
    """
    values = check_thresholds(thresholds, len(concepts))
    saved = _find(corpus, side, control, None if any_version else corpus.version)
    version = _newest_with_all(saved, corpus.name, concepts, recipes)
    picked, others = [], []
    for position, concept in enumerate(concepts):
        wanted = None if recipes is None else recipes[position]
        row = _pick(saved.versions[version][fold(concept)], wanted, only_these_recipes)
        if wanted is not None and making_of(row["recipe"]) != making_of(wanted):
            others.append(concept)
        picked.append(row)
    counts = counts_at_edges(read_histograms(corpus.database, [row["_rowoffset"] for row in picked]))
    # The nearest edge at or above a threshold, and the one at or below it; the outermost ones enclose all similarities.
    above = np.searchsorted(EDGES, values, side="left")
    below = np.searchsorted(EDGES, values, side="right") - 1
    sources = (threshold_sources,) * len(concepts) if isinstance(threshold_sources, str) else tuple(threshold_sources)
    return Rethresholded(
        corpus=corpus.name,
        corpus_version=version,
        newest_version=corpus.database.open_table(corpus.name).version,
        space=corpus.space,
        side=side,
        control=control,
        rows=picked[0]["rows"],
        failures=picked[0]["failures"],
        concepts=tuple(concepts),
        recipes=tuple(row["recipe"] for row in picked),
        runs=tuple(row["run"] for row in picked),
        thresholds=values,
        threshold_sources=sources,
        lower=np.take_along_axis(counts, above, axis=1),
        upper=np.take_along_axis(counts, below, axis=1),
        other_recipes=tuple(others),
        gone=version in saved.gone,
    )


@dataclass(frozen=True)
class _Saved:
    """What is saved of a corpus: by version, then by folded name, the newest first; and which versions are gone."""

    versions: dict[int, dict[str, list[dict[str, Any]]]]
    gone: frozenset[int]


def _find(corpus: Corpus, side: Side, control: str, only: int | None) -> _Saved:
    rows = saved_prototypes(corpus, side, control)
    states = {version: _state_at(corpus, version) for version in {row["corpus_version"] for row in rows}}
    newest = corpus.database.open_table(corpus.name).version
    # Rows of a version beyond the newest, or of another state, hold for a corpus that had the same name once. An older
    # version that was cleaned up cannot be looked at any more.
    gone = frozenset(version for version, state in states.items() if state is None and version < newest)
    versions: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        version = row["corpus_version"]
        if (version in gone or states[version] == row["corpus_state"]) and only in (None, version):
            versions.setdefault(version, {}).setdefault(fold(row["concept"]), []).append(row)
    if not versions:
        where = f"corpus {corpus.name!r}" + ("" if only is None else f" at version {only}")
        under = f" under the control {control!r}" if control else ""
        former = "; what is saved under this name holds for other rows" if rows and only is None else ""
        raise NotFound(f"no {side} similarities of {where} are saved{under}{former}: count once with --save")
    return _Saved(versions, gone)


def _state_at(corpus: Corpus, version: int) -> str | None:
    """Name the rows at a version; None when there is no such version."""
    if version == corpus.version:
        return state_of(corpus)
    try:
        return state_of(Corpus.open(corpus.database, corpus.name, version))
    except NotFound:
        return None


def _newest_with_all(saved: _Saved, corpus: str, concepts: Sequence[str], recipes: Sequence[str] | None) -> int:
    """Choose the newest version at which all concepts are saved; if there is one, with all the recipes asked for."""
    versions = sorted(saved.versions, reverse=True)
    complete = [one for one in versions if all(fold(concept) in saved.versions[one] for concept in concepts)]
    for version in complete if recipes is not None else ():
        own = (saved.versions[version][fold(concept)] for concept in concepts)
        wanted = map(making_of, recipes or ())
        if all(any(making_of(row["recipe"]) == one for row in rows) for rows, one in zip(own, wanted, strict=True)):
            return version
    if complete:
        return complete[0]
    last_saved = {name: version for version in sorted(saved.versions) for name in saved.versions[version]}
    missing = [concept for concept in concepts if fold(concept) not in last_saved]
    if missing:
        names = sorted({own[0]["concept"] for version in saved.versions.values() for own in version.values()})
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        raise NotFound(
            f"no similarities of {missing[0]!r} are saved for corpus {corpus!r}; saved are "
            f"{', '.join(map(repr, names[:_MOST_NAMED]))}{more}: count it once with --save"
        )
    first = min(concepts, key=lambda concept: last_saved[fold(concept)])
    last = max(concepts, key=lambda concept: last_saved[fold(concept)])
    raise NotFound(
        f"{first!r} is saved for version {last_saved[fold(first)]} of corpus {corpus!r} and {last!r} for version "
        f"{last_saved[fold(last)]}, and no version has all: count them together with --save"
    )


def _pick(saved: list[dict[str, Any]], recipe: str | None, only_this: bool) -> dict[str, Any]:
    """Choose between what is saved of one concept at one version, the newest first."""
    for row in saved:
        if recipe is not None and making_of(row["recipe"]) == making_of(recipe):
            return row
    recipes = list(dict.fromkeys(row["recipe"] for row in saved))
    # A similarity of the other kind is of another size: its counts answer another question.
    alike = [row for row in saved if recipe is None or kind_of(row["recipe"]) == kind_of(recipe)]
    if only_this or len({row["prototype_sha256"] for row in alike}) != 1:
        asked = "" if recipe is None else f", none by {recipe}"
        other = "--template" if alike else f"--centre {'no' if kind_of(recipe or '') == 'centred' else 'yes'}"
        raise BadInput(
            f"{saved[0]['concept']!r} is saved with prototypes by {'; '.join(recipes)}{asked}: name one of them by "
            f"{other}, or count with --save"
        )
    return alike[0]
