"""Which estimator of a frequency is right, and how often is its interval? One protocol, five corpora, one table.

    python perf/quality.py --data DIR [--cache DIR] [--only simulation,world] [--quick]

Writes perf/results/quality*.json for docs/calibration.md, and its pictures. Worlds and photographs are embedded once
and kept in the cache with the answers of each corpus, so that one corpus can be asked again without the others. DIR
holds the photographs, the true CLIP vectors and the small model; without it they are left out, and the tables say so.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import scipy
from ground_truth.clip_vectors import clip_cases
from ground_truth.estimators import all_estimators
from ground_truth.photographs import photograph_cases
from ground_truth.pictures import write_pictures
from ground_truth.protocol import Case
from ground_truth.scoring import Answered, ask, chosen, read_answers, save_answers
from ground_truth.simulated import simulation_cases
from ground_truth.tables import Table, by_decade, grades_by_corpus, targets
from ground_truth.world import world_cases

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("simulation", "world", "world-large", "photographs", "clip")
# Targets are about these, where truth is complete and there are captions.
REPORTED = ("simulation", "world", "world, large", "photographs")
BOTH = ("simulation", "world")


def cases_of(part: str, cache: Path, data: Path | None, quick: bool) -> Iterator[Case]:
    """Give the cases of a part."""
    makers: dict[str, Callable[[], Iterator[Case]]] = {
        "simulation": lambda: simulation_cases(quick),
        "world": lambda: world_cases(cache, quick),
        "world-large": lambda: world_cases(cache, quick, large=True),
    }
    if data is not None:
        makers["photographs"] = lambda: photograph_cases(cache, data, quick)
        makers["clip"] = lambda: clip_cases(data, quick)
    return makers[part]() if part in makers else iter(())


def write_tables(answered: Sequence[Answered], folder: Path, seconds: dict[str, float]) -> None:
    """Write every table, print the first."""
    corpora = list(dict.fromkeys(one.corpus for one in answered))
    reported = [one for one in REPORTED if one in corpora]
    tables: dict[str, Table] = {"quality": targets(answered, reported, [one for one in BOTH if one in reported])}
    tables["quality_grades"] = grades_by_corpus(answered, reported)
    for corpus in corpora:
        own = chosen(answered, corpora=[corpus])
        kinds = dict.fromkeys(one.kind for one in own)
        groups = [(kind, chosen(own, kinds=[kind])) for kind in kinds]
        name = "".join(letter if letter.isalnum() else "_" for letter in corpus.lower()).replace("__", "_")
        tables[f"quality_{name}"] = by_decade(own, groups)
    for name, table in tables.items():
        about = {
            "concepts": len({(one.corpus, one.case, one.concept) for one in answered}),
            "processor minutes": {part: round(spent / 60, 1) for part, spent in seconds.items()},
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        }
        path = folder / f"{name}.json"
        path.with_suffix(".tmp").write_text(
            json.dumps({**(about if name == "quality" else {}), "table": asdict(table)}, indent=1, ensure_ascii=False)
            + "\n",
            encoding="utf-8",
        )
        path.with_suffix(".tmp").replace(path)
    for row in (tables["quality"].headings, *tables["quality"].rows):
        print(" | ".join(row))


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, score, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with data/photos, data/clip-vectors and models/mini")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tailwag" / "quality")
    parser.add_argument("--only", help=f"parts to ask, of {', '.join(PARTS)}; the others' answers come from the cache")
    parser.add_argument("--quick", action="store_true", help="few and small cases; writes into the cache alone")
    chosen_options = parser.parse_args(arguments)
    wanted = chosen_options.only.split(",") if chosen_options.only else [one for one in PARTS if one != "world-large"]
    unknown = [one for one in wanted if one not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}: parts are {', '.join(PARTS)}")
    cache = chosen_options.cache
    answers = cache / ("answers-quick" if chosen_options.quick else "answers")
    answers.mkdir(parents=True, exist_ok=True)
    estimators = all_estimators()
    for part in wanted:
        started = time.process_time()
        found = ask(cases_of(part, cache, chosen_options.data, chosen_options.quick), estimators)
        if not found:
            print(f"{part} is left out: pass --data", file=sys.stderr)
            continue
        save_answers(found, answers / f"{part}.parquet")
        (answers / f"{part}.seconds").write_text(str(time.process_time() - started))
        print(f"{part}: {len(found):,} answers in {time.process_time() - started:.0f} s", file=sys.stderr)
    known = [part for part in PARTS if (answers / f"{part}.parquet").is_file()]
    answered = [one for part in known for one in read_answers(answers / f"{part}.parquet")]
    seconds = {part: float((answers / f"{part}.seconds").read_text()) for part in known}
    write_tables(answered, cache if chosen_options.quick else ROOT / "perf" / "results", seconds)
    write_pictures(answered, cache if chosen_options.quick else ROOT / "docs" / "images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
