"""The compiled form: products, instruction sets and ways of sharing work count the same, and installs do without."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.retrieval.counting import Asked, CountQuery, compiled, count, kernel_calls, similarities
from tailwag.retrieval.counting.compiled import CompiledBackend
from tailwag.retrieval.counting.kernel_library import FLOAT32, INT8, INT16, load_kernel
from tailwag.retrieval.counting.reference import ReferenceBackend
from tests.corpora import clustered_unit, make_corpus, make_prototypes, random_unit

from .exact_arithmetic import exact_counts
from .test_counting_exactness import KINDS, answer_of, assert_same, questions

needs_kernel = pytest.mark.skipif(compiled.why_not() is not None, reason=f"{compiled.why_not()}")


def test_the_kernel_is_built_and_passes_its_test_where_there_is_a_compiler():
    """Else all tests of it would be skipped, and nobody would see that it is never used."""
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("there is no C compiler")
    assert compiled.why_not() is None


# AVX-512's loops are those of the portable set, sixteen lanes wide; on other machines they are tested there.
SETS = range(0 if compiled.why_not() else compiled.instruction_sets())


@needs_kernel
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("product", [FLOAT32, INT16, INT8])
@given(question=questions(), threads=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_every_product_counts_what_exact_arithmetic_counts(instructions, product, question, threads):
    rows, prototypes, thresholds = question
    backend = CompiledBackend(instructions, threads, product)
    counted = backend.prepare(prototypes, Asked(thresholds)).count_tile(rows).counts
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))


@needs_kernel
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("product", [FLOAT32, INT16, INT8])
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("dimension", [100, 512])
def test_every_product_counts_tiles_of_full_size(instructions, product, kind, dimension):
    rows, prototypes = KINDS[kind](701, dimension, 3), clustered_unit(70, dimension, clusters=4, seed=3)
    rows[100:140] = prototypes[:40]
    prototypes[41] *= np.float16(0.1)
    prototypes[42] = 0
    scores = similarities(rows, prototypes)
    thresholds = np.clip(np.stack([np.quantile(scores, 0.99, axis=0), scores[5], scores[110]], axis=1), -1, 1)
    counted = CompiledBackend(instructions, 2, product).prepare(prototypes, Asked(thresholds)).count_tile(rows).counts
    np.testing.assert_array_equal(counted, (scores[:, :, None] >= thresholds).sum(axis=0))


@needs_kernel
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("concepts", [3, 67])
@pytest.mark.parametrize("shared", [False, True])
def test_every_answer_equals_the_reference_on_every_instruction_set(instructions, concepts, shared, monkeypatch):
    """Also where all threads fill one histogram, as they do when there are many of both."""
    if shared:
        monkeypatch.setattr(kernel_calls, "_HISTOGRAM_BYTES", 0)
    rows, prototypes = clustered_unit(501, 96, clusters=5), clustered_unit(concepts, 96, clusters=5, seed=1)
    scores = similarities(rows, prototypes)
    for asked in (
        Asked(scores[:3].T, histogram=True),
        Asked(scores[:3].T, histogram=True, best=3, pairs=True, within=0.1),
        Asked(scores[:3].T, best=1),
        Asked(scores[:0].T, pairs=True),
    ):
        floors = np.quantile(scores, 0.9, axis=0)
        for threads in (1, 2, 5):
            counter = CompiledBackend(instructions, threads).prepare(prototypes, asked)
            expected = ReferenceBackend().prepare(prototypes, asked).count_tile(rows, floors)
            assert_same(answer_of(counter, rows, floors), expected)
            assert_same(
                answer_of(counter, rows[:0], floors),
                answer_of(ReferenceBackend().prepare(prototypes, asked), rows[:0], floors),
            )
            assert_same(answer_of(counter, rows, floors), expected)


@needs_kernel
def test_histograms_are_emptied_before_their_counts_overflow(monkeypatch):
    monkeypatch.setattr(kernel_calls, "_MOST_ROWS", 150)
    rows, prototypes = random_unit(100, 32), random_unit(5, 32, 1)
    asked = Asked(np.zeros((5, 0)), histogram=True)
    counter = CompiledBackend().prepare(prototypes, asked)
    for _ in range(4):
        counter.count_tile(rows)
    expected = 4 * ReferenceBackend().prepare(prototypes, asked).count_tile(rows).histogram
    np.testing.assert_array_equal(counter.take_histogram(), expected)


@needs_kernel
def test_prototypes_take_the_product_that_their_thresholds_allow():
    """Where every pair lies near a threshold, the float32 product's narrow band costs less than settling."""
    rows, prototypes = clustered_unit(4000, 512), clustered_unit(64, 512, seed=1)
    scores = similarities(rows, prototypes)
    thresholds = np.repeat(np.quantile(scores, 0.999, axis=0)[:, None], 40, axis=1)
    thresholds[:32] = np.quantile(scores[:, :32], np.linspace(0.3, 0.7, 40), axis=0).T
    chosen = CompiledBackend().prepare(prototypes, Asked(thresholds))
    chosen.count_tile(rows)
    products = dict(chosen.products())
    assert set(range(32)) <= set(products[FLOAT32])
    counted = chosen.count_tile(rows).counts
    np.testing.assert_array_equal(counted, (scores[:, :, None] >= thresholds).sum(axis=0))


@needs_kernel
def test_a_product_beyond_its_range_fails_the_self_test():
    """What protects a machine whose integers saturate: the self-test compares with the reference."""

    class Saturating:
        def __init__(self, library):
            self._library = library

        def __getattr__(self, name):
            return getattr(self._library, name)

        def tailwag_count(self, tile, instructions):
            done = self._library.tailwag_count(tile, instructions)
            counts = tile._obj.counts
            if tile._obj.product == INT16:
                ctypes.cast(counts, ctypes.POINTER(ctypes.c_int64))[0] += 1
            return done

    library = load_kernel()[0]
    assert compiled._failed_test(library) is None
    assert "fails its self-test" in compiled._failed_test(Saturating(library))


@needs_kernel
def test_a_forked_child_counts_too():
    """GNU's OpenMP would wait for ever there for the threads that only the parent has."""
    program = """
import os, sys, numpy as np
from tailwag.retrieval.counting import Asked
from tailwag.retrieval.counting.compiled import CompiledBackend
rows = np.eye(64, dtype=np.float16)[np.arange(500) % 64]
counter = CompiledBackend(threads=2).prepare(rows[:40], Asked(np.full((40, 1), 0.5), histogram=True, best=1))
before = counter.count_tile(rows).counts
child = os.fork()
if child == 0:
    again = CompiledBackend(threads=2).prepare(rows[:40], Asked(np.full((40, 1), 0.5))).count_tile(rows).counts
    same = np.array_equal(counter.count_tile(rows).counts, before) and np.array_equal(again, before)
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


@needs_kernel
def test_the_result_names_the_form_that_counted(tmp_path):
    vectors = random_unit(50, 16)
    result = count(make_corpus(tmp_path, vectors), CountQuery(make_prototypes(vectors[:2]), 0.5))
    assert result.backend in ("c", "cuda")
    assert "threads" in compiled.description()


@pytest.mark.slow
def test_an_install_without_a_compiler_works_and_counts(tmp_path):
    """A wheel built where the compiler fails has no kernel, and counting takes the next form."""
    project = tmp_path / "project"  # without what earlier builds left
    leftovers = shutil.ignore_patterns(".*", "build", "*.so", "*.egg-info", "tests", "perf", "docs", "tailwag-*")
    shutil.copytree(Path(__file__).parents[2], project, ignore=leftovers)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, project],
        env={**os.environ, "CC": "false"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "installed"], check=True)
    program = (
        "import tailwag, sys; from tailwag.retrieval.counting import compiled, choose_backend\n"
        "print(tailwag.__file__); print(compiled.why_not()); print(choose_backend('cpu').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    where, reason, name = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert reason == "the kernel was not built: no C compiler was at hand when tailwag was installed"
    assert name in ("numba", "reference")
