"""The kernels compile for real GPUs, which needs none: the interpreter lets pass what the compiler refuses."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

from tailwag.retrieval.counting.cuda.launches import CANDIDATES, TileSizes, tile_sizes

# Compiles one kernel in a process of its own, since here kernels are interpreted; tells its registers and instructions.
PROGRAM = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tailwag.retrieval.counting.cuda import kernels
name, capability, constants, options = json.loads(sys.argv[1])
kernel = getattr(kernels, name)
pointers = {"rows": "fp16", "prototypes": "fp16", "refused": "i8", "limits": "fp64", "sure_from": "fp32",
    "counts": "i32", "histogram": "i32", "row_best": "i32", "floors": "fp32", "row_floors": "fp32",
    "row_best_floors": "fp32", "records": "i64", "used": "i32", "scores_out": "fp32", "thresholds": "fp64",
    "edges": "fp64", "similarities": "fp64"}
numbers = {"count": "i32", "concepts": "i32", "capacity": "i32", "open_width": "fp32", "edge_band": "fp32",
    "one": "fp32"}
signature = {}
for argument in kernel.arg_names:
    signature[argument] = "constexpr" if argument in constants else numbers.get(argument) or "*" + pointers[argument]
aligned = {(place,): [["tt.divisibility", 16]] for place, one in enumerate(signature.values()) if one.startswith("*")}
source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
ptx = made.asm["ptx"]
print(json.dumps({"bytes": len(made.asm["cubin"]), "wgmma": "wgmma.mma_async" in ptx, "mma": "mma.sync" in ptx,
    "f64": "fma.rn.f64" in ptx or "add.rn.f64" in ptx or "add.f64" in ptx, "shared": made.metadata.shared}))
"""
SHARED_MEMORY = {80: 166_912, 90: 232_448}  # what a program may have


def compiled(name, capability, constants, sizes=None):
    options = {} if sizes is None else {"num_warps": sizes.warps, "num_stages": sizes.stages}
    argument = json.dumps([name, capability, constants, options])
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, argument], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def product(capability, sizes, dimension=512, **flags):
    constants = {
        "D": dimension,
        "BLOCK_C": sizes.concepts,
        "BLOCK_R": sizes.rows,
        "BLOCK_D": sizes.columns,
        "SHORT_SUMS": False,
        "THRESHOLDS": 0,
        "HISTOGRAM": False,
        "ROW_BEST": False,
        "PAIRS": False,
        "SCORES": False,
        **flags,
    }
    return compiled("count_one" if sizes.concepts == 1 else "count_product", capability, constants, sizes)


@pytest.fixture(autouse=True, scope="module")
def compiled_elsewhere(tmp_path_factory):
    """Neither what other runs have compiled is taken, nor is anything left for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_the_product_compiles_to_tensor_cores(capability):
    flags = {"SHORT_SUMS": True, "THRESHOLDS": 2, "HISTOGRAM": True, "ROW_BEST": True, "PAIRS": True}
    found = product(capability, TileSizes(concepts=64, rows=64, warps=4), **flags)
    assert found["wgmma" if capability == 90 else "mma"]
    assert found["shared"] <= SHARED_MEMORY[capability]


def test_the_single_prototype_compiles_without_them():
    # A number that is 1 is built in as such when a kernel is launched.
    found = product(90, tile_sizes(1, 512), THRESHOLDS=1, HISTOGRAM=True, PAIRS=True, concepts=1, count=1)
    assert not found["wgmma"] and not found["mma"]


def test_settling_and_checking_compile_to_float64():
    settle = {"D": 500, "GROUP": 16, "BLOCK_D": 128, "THRESHOLDS": 8, "HISTOGRAM": True, "PAIRS": True}
    assert compiled("settle", 90, {**settle, "concepts": 1})["f64"]
    assert compiled("check_rows", 90, {"D": 512, "BLOCK_R": 16, "BLOCK_D": 256})["f64"]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("sizes", sorted({*CANDIDATES, tile_sizes(9, 512), tile_sizes(50, 512)}, key=repr))
@pytest.mark.parametrize("histogram", [False, True])
def test_every_size_compiles_and_fits(capability, sizes, histogram):
    found = product(capability, sizes, THRESHOLDS=8, HISTOGRAM=histogram, SHORT_SUMS=histogram)
    assert found["shared"] <= SHARED_MEMORY[capability]
