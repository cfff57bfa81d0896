"""How long does an analysis of one pretraining set take, with and without its report?

    python perf/fit_report.py PAPER      PAPER is the folder of the paper's release; writes perf/results/fit_report.json

Each command runs in a process of its own, so imports count. The shortest of some repeats, and its processor time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

REPEATS = 2
PRETRAININGS = ("cc3m", "cc12m", "yfcc15m", "laion400m")


def measure(arguments: list[str]) -> tuple[float, float]:
    """Give seconds and processor seconds of a command, of the quickest of some runs."""
    found = []
    for _ in range(REPEATS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-m", "tailwag", *arguments], check=True, capture_output=True)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    return min(found)


def main() -> None:
    """Measure, print a table, write the JSON."""
    if len(sys.argv) != 2:
        sys.exit("usage: python perf/fit_report.py PAPER")
    shown = []
    for pretraining in PRETRAININGS:
        asked = ["fit", "--paper", sys.argv[1], "--pretraining", pretraining]
        told = subprocess.run(
            [sys.executable, "-m", "tailwag", *asked, "--json"], check=True, capture_output=True, text=True
        )
        answer = json.loads(told.stdout)
        printed = measure(asked)
        with tempfile.TemporaryDirectory() as folder:
            reported = measure([*asked, "--out", f"{folder}/report"])
        row = [pretraining, str(len(answer["models"])), f"{answer['concepts']:,}"]
        shown.append([*row, *(f"{each:.1f} s" for each in (*printed, *reported))])
        print("  ".join(shown[-1]), flush=True)
    headings = ["pretraining set", "models", "points", "fit, printed", "processor", "with the report", "processor"]
    results = {
        "machine": peers.machine(),
        "load_at_the_end": round(os.getloadavg()[0], 1),
        "table": {"headings": headings, "rows": shown},
    }
    path = Path(__file__).parent / "results" / "fit_report.json"
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
