"""Importing open_clip where torch is a CPU build and torchvision is not.

Not here: loading a model (`encoder.py`).
"""

from __future__ import annotations

import ctypes
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# torch forgets an operator's schema when its Library object dies, so it lives as long as the process.
_kept_libraries: list[Any] = []

# The operators that a torchvision wheel linked against CUDA registers in C++, and its Python code expects at import.
_MISSING_OPERATORS = ("nms", "qnms")


def import_open_clip() -> ModuleType:
    """Import open_clip, repairing torchvision's import only when it fails in the one known way.

    A torchvision wheel built for CUDA cannot load its C++ library beside a CPU build of torch, and then stops with
    ``operator torchvision::nms does not exist``. open_clip uses none of those operators, so declaring their schemas is
    enough. Where torchvision imports, nothing is touched.

    Also asks the C library to keep memory that torch frees: see `keep_freed_memory`.
    """
    keep_freed_memory()
    _import_torchvision()
    return import_module("open_clip")


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next batch instead of handing it back to the system.

    On a CPU every layer's output is allocated and freed anew. By default glibc maps and unmaps each large one, and the
    page faults can cost more than the arithmetic; `perf/cpu_encoding.py` measures it. Peak memory stays what the
    largest batches need.

    Threads would still get heaps of their own, of 64 MB, and what is larger would be mapped and unmapped after all. So
    that threads which run a model keep memory too, all of them share one heap; those that have one already keep it.

    Returns
    -------
    bool
        Whether the C library took it; False on one without ``mallopt``, where nothing changes.
    """
    m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8  # glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    asked = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_arena_max, 1))
    return all(mallopt(parameter, value) for parameter, value in asked)


def _import_torchvision() -> None:
    if "torchvision" in sys.modules:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
            del sys.modules[name]
        declare_missing_operators()
        import_module("torchvision")


def torchvision_is_mended() -> bool:
    """Say whether torchvision's import failed in the known way and was repaired, in this process."""
    return bool(_kept_libraries)


def declare_missing_operators() -> None:
    """Declare the schemas that torchvision's Python code expects of its C++ library."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _MISSING_OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept_libraries.append(library)
