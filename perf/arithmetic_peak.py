"""What could one core multiply at most, and how near to that come torch's product and the kernel's?

    python perf/arithmetic_peak.py        writes perf/results/arithmetic_peak.json

Compiles a loop of nothing but AVX2 multiply-adds with the machine's C compiler; processor time of one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peers

from tailwag.retrieval.counting import Asked
from tailwag.retrieval.counting.compiled import CompiledBackend
from tailwag.retrieval.counting.kernel_library import FLOAT32, INT16

ROWS, CONCEPTS, DIMENSION, REPEATS = 8192, 512, 512, 9
LOOP = """
#include <stdio.h>
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
#define F(a) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #a "\\n"
#define M(t, a) "vpmaddwd %%ymm12, %%ymm13, %%ymm" #t "\\n vpaddd %%ymm" #t ", %%ymm" #a ", %%ymm" #a "\\n"
#define USED "ymm0","ymm1","ymm2","ymm3","ymm4","ymm5","ymm6","ymm7", \\
    "ymm8","ymm9","ymm10","ymm11","ymm12","ymm13","ymm14","ymm15"
int main(void) {
    const long n = 30000000;
    __asm__ volatile("vxorps %%ymm12, %%ymm12, %%ymm12\\n vxorps %%ymm13, %%ymm13, %%ymm13" ::: USED);
    double start = now();
    for (long k = 0; k < n; k++)
        __asm__ volatile(F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) ::: USED);
    double middle = now();
    for (long k = 0; k < n; k++)
        __asm__ volatile(M(14,0) M(15,1) M(14,2) M(15,3) M(14,4) M(15,5)
            M(14,6) M(15,7) M(14,8) M(15,9) M(14,10) M(15,11) ::: USED);
    double end = now();
    printf("%f %f", n * 12.0 * 16 / (middle - start) / 1e9, n * 12.0 * 32 / (end - middle) / 1e9);
}
"""


def peaks() -> tuple[float, float]:
    """Give 10⁹ operations per second of one core in float32 and in int16, at most."""
    with tempfile.TemporaryDirectory() as folder:
        program, source = f"{folder}/peak", Path(folder) / "peak.c"
        source.write_text(LOOP)
        subprocess.run(["cc", "-O2", "-mavx2", "-mfma", "-o", program, source], check=True)
        floats, integers = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    return float(floats), float(integers)


def rate(way: Callable[[], object]) -> float:
    """Give 10⁹ operations per second of processor time, at best of some repeats."""
    way()
    best = np.inf
    for _ in range(REPEATS):
        start = time.process_time()
        way()
        best = min(best, time.process_time() - start)
    return 2 * ROWS * CONCEPTS * DIMENSION / best / 1e9


def main() -> None:
    """Measure, print a table, write the JSON."""
    if "AVX2" not in str(peers.machine()["instructions"]):
        sys.exit("this machine has no AVX2: nothing was measured")
    peers.CORES = 1
    rows, prototypes = peers.clustered(ROWS, DIMENSION, 1), peers.clustered(CONCEPTS, DIMENSION, 2)
    asked = Asked(np.full((CONCEPTS, 1), peers.threshold_at(rows, prototypes, 0.001)))
    floats, integers = peaks()

    def kernel(product: int) -> Callable[[], object]:
        counter = CompiledBackend(threads=1, product=product).prepare(prototypes, asked)
        return lambda: counter.count_tile(rows)

    torch_rate = rate(peers.torch_product(rows.astype(np.float32), prototypes.astype(np.float32)))
    table = [
        ["float32, peak", floats, floats],
        ["torch float32 product alone", torch_rate, floats],
        ["tailwag, float32, counted", rate(kernel(FLOAT32)), floats],
        ["int16, peak", integers, integers],
        ["tailwag, int16, counted", rate(kernel(INT16)), integers],
    ]
    shown = [[name, f"{found:.0f}", f"{found / peak:.0%}"] for name, found, peak in table]
    for row in shown:
        print(f"{row[0]:<32}{row[1]:>8}{row[2]:>8}")
    headings = ["one core", "10⁹ operations/s", "of the peak"]
    results = {"machine": peers.machine(), "table": {"headings": headings, "rows": shown}}
    path = Path(__file__).parent / "results" / "arithmetic_peak.json"
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
