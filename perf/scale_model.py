"""How long does a pass over a pretraining set take? On paper, from measured constants where there are some.

    python perf/scale_model.py        reads perf/results/count_engine.json, writes perf/results/scale_model.json

A pass reads every vector of one side once, copies it to where it is counted, and multiplies it with every prototype;
the three overlap, so the slowest of them is the time. On the measured machine, whose two cores read and count, reading
and counting add up. What was not measured is an assumption and marked as one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DIMENSION = 512
CORPORA = {"CC-3M": 3.0e6, "CC-12M": 11.0e6, "LAION-400M": 4.0e8, "LAION-5B": 5.85e9}
CONCEPTS = (1, 4000)


@dataclass(frozen=True)
class Machine:
    """What a pass runs at.

    Attributes
    ----------
    reading, copying
        Bytes per second from the table, and to the GPUs; copying None where nothing is copied.
    pairs
        Pairs of a row and a prototype per second.
    overlapping
        Whether reading and counting have cores of their own.
    source
        Where the numbers come from.
    """

    reading: float
    copying: float | None
    pairs: float
    overlapping: bool
    source: str


def machines(measured: dict[str, float], cores: int) -> dict[str, Machine]:
    """Give the machines: one as measured, three assumed."""
    rows, concepts = 200_000, 4000
    read = rows * DIMENSION * 2 / measured["1 × 200k, from a Lance table"]
    pairs = rows * concepts / measured["4,000 × 200k, from a Lance table"]
    # Dense float16 peaks by the maker's data sheet, of which a fused kernel is assumed to reach 60 %.
    gpu_pairs = 0.6 * 989e12 / (2 * DIMENSION)
    return {
        f"the measured machine, {cores} cores": Machine(read, None, pairs, False, "measured"),
        "a laptop, 8 cores": Machine(
            3e9, None, pairs * 8 / cores, True, "its cores as measured; an NVMe disk of 3 GB/s"
        ),
        "one H100": Machine(6e9, 50e9, gpu_pairs, True, "assumed: a disk of 6 GB/s, PCIe 5, 60 % of the peak"),
        "eight H100": Machine(25e9, 8 * 50e9, 8 * gpu_pairs, True, "assumed: four such disks, the rest eightfold"),
    }


def seconds(machine: Machine, rows: float, concepts: int) -> tuple[float, str]:
    """Give the time of a pass, and what it is bound by."""
    size = rows * DIMENSION * 2
    parts = {"reading": size / machine.reading, "counting": rows * concepts / machine.pairs}
    if machine.copying is not None:
        parts["copying"] = size / machine.copying
    bound = max(parts, key=lambda part: parts[part])
    return (max if machine.overlapping else sum)(parts.values()), bound


def in_words(taken: float) -> str:
    """Write seconds as people would."""
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if taken >= 2 * length:
            return f"{taken / length:.0f} {unit}" if taken >= 10 * length else f"{taken / length:.1f} {unit}"
    return f"{taken:.1f} s" if taken < 10 else f"{taken:.0f} s"


def main() -> None:
    """Print the table, write the JSON."""
    engine = json.loads((RESULTS / "count_engine.json").read_text("utf-8"))
    measured = {question: times["tailwag"] for question, times in engine["median seconds"].items()}
    found = machines(measured, engine["machine"]["cores"])
    headings = ["pass", "size", *found]
    rows = []
    for name, count in CORPORA.items():
        for concepts in CONCEPTS:
            cells = []
            for machine in found.values():
                taken, bound = seconds(machine, count, concepts)
                cells.append(f"{in_words(taken)} ({bound})")
            what = "one concept" if concepts == 1 else f"{concepts:,} concepts"
            rows.append([f"{name}, {what}", f"{count * DIMENSION * 2 / 1e9:,.0f} GB", *cells])
    for row in (headings, *rows):
        print("".join(f"{cell:<30}" for cell in row))
    results = {
        "constants": {name: vars(machine) for name, machine in found.items()},
        "table": {"headings": headings, "rows": rows},
    }
    path = RESULTS / "scale_model.json"
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
