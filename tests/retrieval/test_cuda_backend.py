"""Whether there is a GPU is found out cheaply, and what counts on it is chosen and told."""

import ctypes
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tailwag.errors import BadInput
from tailwag.retrieval.counting import Asked, choose_backend, similarities
from tailwag.retrieval.counting import cuda as cuda_backend
from tailwag.retrieval.counting.backends import why_not
from tailwag.retrieval.counting.cuda import CudaBackend, CudaTorchBackend
from tailwag.retrieval.counting.cuda.driver import why_no_gpu
from tests.corpora import random_unit

HERE = why_no_gpu()


def test_a_machine_without_a_driver_says_so():
    assert why_no_gpu("libno-such-driver.so.1") == "there is no NVIDIA driver"


@pytest.mark.parametrize(
    ("starts", "counts", "expected"),
    [
        (100, 0, "the NVIDIA driver shows no GPU"),
        (0, 0, "the NVIDIA driver shows no GPU"),
        (804, 0, r"the NVIDIA driver does not start \(cuInit gave error 804\)"),
        (0, 2, None),
    ],
)
def test_the_driver_is_asked_itself(monkeypatch, starts, counts, expected):
    class Driver:
        @staticmethod
        def cuInit(flags):  # noqa: N802
            return starts

        @staticmethod
        def cuDeviceGetCount(pointer):  # noqa: N802
            pointer._obj.value = counts
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver)
    found = why_no_gpu.__wrapped__()
    if expected is None:
        assert found is None
    else:
        assert re.fullmatch(expected, found)


@pytest.mark.skipif(HERE is None, reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda-torch"])
def test_without_a_gpu_the_backend_is_refused_with_the_reason(name):
    with pytest.raises(BadInput, match=f"counting backend {name!r} does not run here: {HERE}"):
        choose_backend(name)


def test_asking_imports_no_torch():
    program = (
        "import sys; from tailwag.retrieval.counting.backends import why_not\n"
        "print(why_not('cuda') is None, {'torch', 'triton'} & set(sys.modules))"
    )
    no_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=no_gpu)
    assert done.stdout.split() == ["False", "set()"]


def ask(backend, asked=None):
    rows, prototypes = random_unit(90, 16, 1), random_unit(3, 16, 2)
    asked = asked or Asked(np.full((3, 1), 0.2))
    counts = [counter.count_tile(rows).counts for counter in backend.prepare_all(prototypes, asked)]
    for one in counts:
        np.testing.assert_array_equal(one[:, 0], (similarities(rows, prototypes) >= 0.2).sum(axis=0))
    return len(counts)


def test_a_counter_is_made_for_every_device():
    backend = CudaBackend(("cpu", "cpu", "cpu"))
    assert ask(backend) == 3
    assert backend.name == "cuda-torch"  # the CPU has no tensor cores
    assert ask(CudaTorchBackend(("cpu",))) == 1


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_name_tells_whether_the_fused_kernels_count(monkeypatch):
    monkeypatch.setattr(cuda_backend, "why_not_fused", lambda device: None)
    backend = CudaBackend(("cpu",))
    ask(backend)
    assert backend.name == "cuda"
    ask(backend, Asked(np.full((3, 1), 0.2), best=2))
    assert backend.name == "cuda-torch"


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_a_device_whose_products_are_not_as_supposed_counts_in_plain_torch_and_says_so(monkeypatch):
    from tailwag.retrieval.counting.cuda import fused

    def refuse(*_):
        raise fused.ProductNotAsSupposed("the tensor cores of this device err by more than any that are known")

    monkeypatch.setattr(cuda_backend, "why_not_fused", lambda device: None)
    monkeypatch.setattr(fused, "product_band", refuse)
    backend = CudaBackend(("cpu",))
    with pytest.warns(UserWarning, match="err by more than any that are known: counting goes on in plain torch"):
        ask(backend)
    assert backend.name == "cuda-torch"


@pytest.mark.gpu
def test_every_gpu_counts_with_the_fused_kernels():
    assert why_not("cuda") is None
    backend = CudaBackend()
    assert ask(backend) >= 1
    assert backend.name == ("cuda" if find_spec("triton") else "cuda-torch")


@pytest.mark.skipif(HERE is None, reason="there is a GPU")
def test_measuring_without_a_gpu_says_so_in_one_line():
    script = Path(__file__).parents[2] / "perf" / "gpu_count.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"nothing was measured: {HERE}\n")
