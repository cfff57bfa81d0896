"""Importing open_clip where torch is a CPU build and torchvision is not.

Not here: loading a model (`encoder.py`).
"""

from __future__ import annotations

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
    """
    _import_torchvision()
    return import_module("open_clip")


def _import_torchvision() -> None:
    if "torchvision" in sys.modules:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
            del sys.modules[name]
        declare_missing_operators()
        import torchvision  # noqa: F401


def declare_missing_operators() -> None:
    """Declare the schemas that torchvision's Python code expects of its C++ library."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _MISSING_OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept_libraries.append(library)
