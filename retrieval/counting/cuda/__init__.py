"""Counting on NVIDIA GPUs: fused Triton kernels, with a form in plain torch where Triton does not run.

Choosing between them and sharing the work out over the GPUs; torch is imported only when there is one. Not here: the
kernels (`kernels.py`) and what launches them (`launches.py`, `fused.py`), the torch form (`torch_form.py`), moving rows
to a device (`pipeline.py`), a corpus that stays on a device (`resident.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ..tiles import Asked
from .driver import why_no_gpu

if TYPE_CHECKING:
    from .fused import FusedWork
    from .pipeline import DeviceCounter
    from .torch_form import TorchWork

# Tensor cores begin with Volta.
_LEAST_CAPABILITY = (7, 0)


class CudaBackend:
    """Counts on GPUs with the fused kernels, or in plain torch where they cannot be used.

    Parameters
    ----------
    devices
        What torch calls the devices; None for every GPU that CUDA_VISIBLE_DEVICES leaves.

    Attributes
    ----------
    name
        ``"cuda"``, or ``"cuda-torch"`` when the last query was prepared without the fused kernels on some device.
    """

    def __init__(self, devices: Sequence[str] | None = None) -> None:
        self.name = "cuda"
        self._devices = tuple(devices) if devices is not None else _all_gpus()

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> DeviceCounter:
        """Make ready for one query on the first device; see `Backend.prepare`."""
        return self._prepare(self._devices[:1], prototypes, asked)[0]

    def prepare_all(self, prototypes: np.ndarray, asked: Asked) -> list[DeviceCounter]:
        """Make ready for one query on every device; see `prepare_counters`."""
        return self._prepare(self._devices, prototypes, asked)

    def _prepare(self, devices: Sequence[str], prototypes: np.ndarray, asked: Asked) -> list[DeviceCounter]:
        from .pipeline import DeviceCounter

        works = [device_work(device, prototypes, asked) for device in devices]
        self.name = "cuda" if all(fused for _, fused in works) else "cuda-torch"
        return [DeviceCounter(work, prototypes.shape[1]) for work, _ in works]


class CudaTorchBackend(CudaBackend):
    """Counts on GPUs in plain torch."""

    def _prepare(self, devices: Sequence[str], prototypes: np.ndarray, asked: Asked) -> list[DeviceCounter]:
        from .torch_form import TorchForm

        self.name = "cuda-torch"
        return [TorchForm(device).prepare(prototypes, asked) for device in devices]


def device_work(device: str, prototypes: np.ndarray, asked: Asked) -> tuple[FusedWork | TorchWork, bool]:
    """Give the quickest that answers a query on one device, and whether it is the fused kernels.

    Warns when a device should run the fused kernels and its products are not what their exactness rests on.
    """
    from .torch_form import TorchForm

    if why_not_fused(device) is None:
        from .fused import FusedForm, ProductNotAsSupposed

        try:
            if asked.best <= 1:
                return FusedForm(device).work(prototypes, asked), True
        except ProductNotAsSupposed as error:
            warnings.warn(f"{error}: counting goes on in plain torch, which is slower", stacklevel=2)
    return TorchForm(device).work(prototypes, asked), False


def why_not_fused(device: str) -> str | None:
    """Why can the fused kernels not be used on a device? None when they can."""
    import torch

    if find_spec("triton") is None:
        return 'Triton is not installed: pip install "tailwag[triton]"'
    if torch.device(device).type != "cuda":
        return f"{device} is no GPU"
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        return f"{torch.cuda.get_device_name(device)} has no tensor cores"
    return None


def why_not() -> str | None:
    """Why does this backend not run here? None when it does."""
    reason = why_no_gpu()
    if reason is not None:
        return reason
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def description() -> str:
    """Say which GPUs there are: ``'2 NVIDIA A100-SXM4-40GB'``."""
    import torch

    names = [torch.cuda.get_device_name(device) for device in _all_gpus()]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))


def _all_gpus() -> tuple[str, ...]:
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
