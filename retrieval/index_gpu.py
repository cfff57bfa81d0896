"""Putting a FAISS index on a GPU, and the telling part of FAISS's errors.

FAISS's GPU wheel works without a GPU too; what is found at run time decides. Not here: building indices (`index.py`).
"""

from __future__ import annotations

from typing import Any

from tailwag.errors import BadInput, TailwagError

from .index_plan import IndexPlan


class Gpu:
    """One GPU for FAISS."""

    def __init__(self, number: int) -> None:
        import faiss

        self._number = number
        self._resources = faiss.StandardGpuResources()

    def load(self, index: Any, plan: IndexPlan) -> Any:
        """Copy an index to the GPU."""
        import faiss

        options = faiss.GpuClonerOptions()
        # 64 float32 lookup tables of 256 entries exceed a block's 48 KiB of shared memory; candidates are put in exact
        # order afterwards, so float16 costs nothing.
        options.useFloat16 = plan.kind == "ivf-pq"
        try:
            return faiss.index_cpu_to_gpu(self._resources, self._number, index, options)
        except RuntimeError as error:
            raise TailwagError(
                f"the index does not go onto GPU {self._number} ({faiss_reason(error)}): pass --device cpu"
            ) from error


def find_gpu(device: str | None) -> Gpu | None:
    """Choose a GPU by the device's name; None for the CPU.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:1``; None takes the first GPU that FAISS finds, else the CPU.

    Raises
    ------
    BadInput
        When there is no such device.
    """
    import faiss

    if device == "cpu":
        return None
    there = faiss.get_num_gpus()
    if device is None:
        return Gpu(0) if there else None
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise BadInput(f"no device {device!r}: there are cpu, cuda and cuda:NUMBER")
    if int(number or 0) >= there:
        raise BadInput(f"device {device!r} is not here, FAISS finds {there} GPUs: pass --device cpu")
    return Gpu(int(number or 0))


def faiss_reason(error: BaseException) -> str:
    """Give the telling part of a FAISS error, which begins with a C++ signature."""
    lines = str(error).strip().splitlines()
    return (lines[-1].split("Error: ")[-1] if lines else type(error).__name__)[:200]
