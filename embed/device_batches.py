"""Batches on their way through a device: copied ahead, as large as its memory allows.

Knows nothing of models: what is computed is a function. Not here: what a batch holds (`encoder.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Compute = Callable[["torch.Tensor"], "torch.Tensor"]
Size = TypeVar("Size")


class DeviceBatches:
    """Runs a function over batches on one device, from any number of threads.

    On a CPU each thread computes on its own. On a GPU two batches are there at a time: while one is computed, the next
    one travels on a stream of its own, from memory that the device reads by itself. A batch that does not fit into
    memory is halved and done again, and no later one is larger.

    Attributes
    ----------
    most
        The largest batch that is computed at once; None while every one fitted.
    """

    def __init__(self, device: torch.device) -> None:
        self.most: int | None = None
        self._device = device
        self._order = threading.Lock()
        self._ahead = threading.Semaphore(2)
        self._copies: torch.cuda.Stream | None = None

    def run(self, batch: torch.Tensor, compute: Compute) -> np.ndarray:
        """Compute one batch.

        Parameters
        ----------
        batch
            (n, …), on the CPU.
        compute
            From (n, …) on the device to (n, d) on the device; each row depends on its own input only.

        Returns
        -------
        numpy.ndarray
            (n, d).
        """
        results = []
        start = 0
        while start < len(batch):
            part = batch[start : start + (self.most or len(batch))]
            try:
                results.append(self._run_whole(part, compute))
            except RuntimeError as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                self.most = min(self.most or len(part), -(-len(part) // 2))
            else:
                start += len(part)
                continue
            self._free()  # out of the handler, whose traceback still holds what the failed batch had allocated
        return np.concatenate(results)

    def _run_whole(self, batch: torch.Tensor, compute: Compute) -> np.ndarray:
        import torch

        if self._device.type != "cuda":
            with torch.inference_mode():
                return compute(batch.to(self._device)).cpu().numpy()
        with self._ahead, torch.cuda.device(self._device), torch.inference_mode():
            if self._copies is None:
                self._copies = torch.cuda.Stream(self._device)
            with torch.cuda.stream(self._copies):
                on_device = batch.pin_memory().to(self._device, non_blocking=True)
                copied = self._copies.record_event()
            with self._order:
                stream = torch.cuda.current_stream()
                stream.wait_event(copied)
                on_device.record_stream(stream)  # or its memory could be given away before it is read
                result = compute(on_device)
                back = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
                back.copy_(result, non_blocking=True)
                done = stream.record_event()
            # The next thread may queue its batch while this one waits for its own.
            done.synchronize()
            return back.numpy().copy()

    def _free(self) -> None:
        import torch

        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a device, or the CPU's allocator, had no memory for what was asked."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def quickest(sizes: list[Size], rate: Callable[[Size], float], gain: float = 1.05) -> tuple[Size, float]:
    """Try sizes in their order until one is hardly quicker than the one before, or does not fit into memory.

    Parameters
    ----------
    sizes
        Ascending.
    rate
        Measures one: items per second.
    gain
        How many times as quick a larger size must be.

    Returns
    -------
    tuple
        The best size and its rate.
    """
    best, best_rate = sizes[0], rate(sizes[0])
    for size in sizes[1:]:
        try:
            found = rate(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        if found < gain * best_rate:
            break
        best, best_rate = size, found
    return best, best_rate
