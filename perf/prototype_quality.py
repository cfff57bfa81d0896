"""Which prototype ranks and counts best: a name, centred, many prompts, synonyms, example images, both mixed?

    python perf/prototype_quality.py --data DIR [--cache DIR] [--only world]

Writes perf/results/prototype_quality*.json for docs/prototypes.md. DIR holds the photographs, the true CLIP vectors and
the small model; without it they are left out. Worlds and photographs are embedded once and kept in the cache, which may
be that of perf/quality.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ground_truth.estimators import best_edge
from ground_truth.protocol import histograms_of
from ground_truth.prototype_kinds import (
    CENTRED,
    NAME,
    Hubs,
    Trial,
    clip_trials,
    photograph_trials,
    world_trials,
)

from tailwag.retrieval.centring_choice import HUB_STRENGTH_TO_CENTRE, average_precision
from tailwag.retrieval.counting.bins import counts_at_edges

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = ("prototype", "average precision", "best threshold in hindsight", "threshold of the other concepts", "ρ")


@dataclass(frozen=True)
class Score:
    """How one way of making a prototype did for one concept of one trial.

    Attributes
    ----------
    precision
        Average precision; nan where nothing shows the concept.
    truth, hindsight, learned
        Images that show it; the count at the one threshold that is best for all; the count at the one that is best
        for the others.
    """

    precision: float
    truth: int
    hindsight: int
    learned: int


def scores_of(trial: Trial, way: str) -> list[Score]:
    """Count and rank with one kind of prototype."""
    similarities = trial.images @ trial.made[way].T
    known = histograms_of(similarities, trial.shown, np.zeros_like(trial.shown), ~trial.told)
    truth, counts = known.truth, counts_at_edges(known.rows)
    best, learned = best_edge(known.rows, truth), edges_of_the_others(counts, truth)
    found = []
    for concept, number in enumerate(truth):
        told = trial.told[:, concept]
        precision = (
            average_precision(similarities[told, concept], trial.shown[told, concept]) if number else float("nan")
        )
        found.append(Score(precision, int(number), int(counts[concept, best]), int(counts[concept, learned[concept]])))
    return found


def edges_of_the_others(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which edge is `best_edge` of all concepts but one, for each that is left out?

    Parameters
    ----------
    counts
        (C, E) int64: of each concept at each edge.
    truth
        (C,) int64.

    Returns
    -------
    numpy.ndarray
        (C,) int64. All medians come of one sorting: what is left out moves the middle by at most one place.
    """
    errors = np.abs(np.log10((counts + 0.5) / (truth[:, None] + 0.5)))
    size, total = len(errors), errors.sum(axis=0)
    order = np.argsort(errors, axis=0, kind="stable")
    ordered = np.take_along_axis(errors, order, axis=0)
    place = np.argsort(order, axis=0, kind="stable")
    low, high = (size - 2) // 2, (size - 1) // 2
    found = []
    for concept in range(size):
        median = sum(ordered[middle + (place[concept] <= middle), range(errors.shape[1])] for middle in (low, high)) / 2
        mean = (total - errors[concept]) / (size - 1)
        found.append(int(np.lexsort((mean.round(12), median))[0]))
    return np.array(found)


def error(scores: Sequence[Score], which: str) -> str:
    """Write median and 90th percentile of |log10((count + .5) / (truth + .5))|."""
    off = [abs(np.log10((getattr(one, which) + 0.5) / (one.truth + 0.5))) for one in scores]
    return "/".join(f"{np.quantile(off, share):.2f}".removeprefix("0") for share in (0.5, 0.9))


def row_of(way: str, trials: Sequence[Sequence[Score]]) -> list[str]:
    """Write one way's line: medians over concepts and draws, the rank correlation as the mean over draws."""
    from scipy.stats import spearmanr

    scores = [one for trial in trials for one in trial]
    ranks = [
        float(spearmanr([one.truth for one in trial], [one.learned for one in trial]).statistic) for trial in trials
    ]
    precision = f"{np.nanmean([one.precision for one in scores]):.3f}".removeprefix("0")
    rank = f"{np.nanmean(ranks):.2f}".removeprefix("0")
    return [way, precision, error(scores, "hindsight"), error(scores, "learned"), rank]


def measure(parts: Sequence[Iterator[Trial | Hubs]]) -> tuple[dict[str, dict[str, list[list[Score]]]], list[Hubs]]:
    """Try every way on every corpus."""
    found: dict[str, dict[str, list[list[Score]]]] = {}
    hubs = []
    for part in parts:
        for one in part:
            if isinstance(one, Hubs):
                hubs.append(one)
                continue
            print(f"{one.corpus}: {one.shown.shape[0]:,} images, {one.shown.shape[1]} concepts", file=sys.stderr)
            for way in one.made:
                found.setdefault(one.corpus, {}).setdefault(way, []).append(scores_of(one, way))
    return found, hubs


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with data/photos, data/clip-vectors and models/mini")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tailwag" / "quality")
    parser.add_argument("--only", help="parts to try, of clip, photographs, world; nothing is written then")
    parser.add_argument("--draws", type=int, default=10, help="of examples and of what is hidden")
    options = parser.parse_args(arguments)
    cache, data, draws = options.cache, options.data, options.draws
    makers: dict[str, Callable[[], Iterator[Trial | Hubs]]] = {"world": lambda: world_trials(cache, min(draws, 3))}
    if data is not None:
        makers = {
            "clip": lambda: clip_trials(data, draws),
            "photographs": lambda: photograph_trials(cache, data, draws),
            **makers,
        }
    wanted = options.only.split(",") if options.only else list(makers)
    unknown = [one for one in wanted if one not in makers]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r} here: parts are {', '.join(makers)}")
    found, hubs = measure([makers[part]() for part in wanted])
    for corpus, ways in found.items():
        trials = next(iter(ways.values()))
        about = {
            "corpus": corpus,
            "concepts": len(trials[0]),
            "draws": len(trials),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        table = {"headings": HEADINGS, "rows": [row_of(way, tried) for way, tried in ways.items()]}
        print(f"\n{corpus}", *(" | ".join(row) for row in table["rows"]), sep="\n")
        if not options.only:
            letters = "".join(letter if letter.isalnum() else "_" for letter in corpus.lower())
            _write(f"prototype_quality_{'_'.join(filter(None, letters.split('_')))}.json", {**about, "table": table})
    rows = [hub_row(one, found[one.corpus]) for one in hubs]
    print("\nhubs", *(" | ".join(row) for row in rows), sep="\n")
    if not options.only:
        headings = ("corpus", "images", "hub strength", "auto chooses", "average precision, plain", "centred")
        _write("prototype_hubs.json", {"table": {"headings": headings, "rows": rows}})
    return 0


def hub_row(hubs: Hubs, ways: dict[str, list[list[Score]]]) -> list[str]:
    """Write what auto chooses by hub strength beside what names are worth of either kind."""
    chosen = "centred" if hubs.strength >= HUB_STRENGTH_TO_CENTRE else "plain"
    precision = [row_of(way, ways[way])[1] for way in (NAME, NAME + CENTRED)]
    return [hubs.corpus, f"{hubs.rows:,}", f"{hubs.strength:.2f}".removeprefix("0"), chosen, *precision]


def _write(name: str, content: dict) -> None:
    path = ROOT / "perf" / "results" / name
    path.with_suffix(".tmp").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".tmp").replace(path)


if __name__ == "__main__":
    sys.exit(main())
