"""Batches that do not fit are halved until they do, from any number of threads, and nothing else is caught."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.embed.device_batches import DeviceBatches, quickest


def cpu() -> DeviceBatches:
    import torch

    return DeviceBatches(torch.device("cpu"))


def double_up_to(most: int):
    """A device on which no more than `most` rows fit."""
    import torch

    def compute(batch):
        if len(batch) > most:
            raise torch.OutOfMemoryError(f"{len(batch)} rows")
        return batch * 2

    return compute


@given(rows=st.integers(1, 50), most=st.integers(1, 60), again=st.integers(1, 50))
def test_every_row_comes_out_once_and_in_order(rows, most, again):
    import torch

    batches = cpu()
    for count in (rows, again):
        batch = torch.arange(count * 3).reshape(count, 3)
        assert np.array_equal(batches.run(batch, double_up_to(most)), 2 * batch.numpy())
    assert batches.most is None or batches.most <= most
    if max(rows, again) <= most:
        assert batches.most is None


def test_a_batch_that_did_not_fit_is_not_tried_again():
    import torch

    batches, seen = cpu(), []

    def compute(batch):
        seen.append(len(batch))
        return double_up_to(5)(batch)

    batches.run(torch.zeros(16, 1), compute)
    batches.run(torch.zeros(16, 1), compute)
    assert seen == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4]


def test_threads_share_what_was_found():
    import torch

    batches, batch = cpu(), torch.arange(64).reshape(64, 1)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: batches.run(batch, double_up_to(7)), range(40)):
            assert np.array_equal(result, 2 * batch.numpy())
    assert batches.most == 4


def test_one_row_that_does_not_fit_is_an_error():
    import torch

    with pytest.raises(torch.OutOfMemoryError):
        cpu().run(torch.zeros(4, 1), double_up_to(0))


def test_other_errors_are_not_taken_for_lack_of_memory():
    import torch

    def broken(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        cpu().run(torch.zeros(4, 1), broken)


@pytest.mark.gpu
def test_a_gpu_computes_what_the_cpu_does_from_many_threads():
    import torch

    batches = DeviceBatches(torch.device("cuda"))
    inputs = [torch.randint(0, 256, (33, 64), dtype=torch.uint8) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for given_, found in zip(
            inputs, pool.map(lambda x: batches.run(x, lambda b: b.float() * 3), inputs), strict=True
        ):
            assert np.array_equal(found, given_.numpy() * 3.0)


@pytest.mark.gpu
def test_a_gpu_that_runs_out_of_memory_goes_on_with_smaller_batches():
    import torch

    free, _ = torch.cuda.mem_get_info()
    width = free // 4 // 24  # 24 rows of float32 would fill it

    def compute(batch):
        return torch.ones(len(batch), width, device=batch.device).sum(dim=1, keepdim=True) * 0 + batch

    batches, batch = DeviceBatches(torch.device("cuda")), torch.arange(64.0).reshape(64, 1)
    assert np.array_equal(batches.run(batch, compute), batch.numpy())
    assert batches.most is not None


def test_sizes_are_tried_until_they_gain_nothing():
    tried = []

    def rate(size):
        tried.append(size)
        return {8: 10.0, 16: 15.0, 32: 15.2, 64: 99.0}[size]

    assert quickest([8, 16, 32, 64], rate) == (16, 15.0)
    assert tried == [8, 16, 32]


def test_a_size_that_does_not_fit_ends_the_search():
    import torch

    def rate(size):
        if size > 16:
            raise torch.OutOfMemoryError
        return float(size)

    assert quickest([8, 16, 32, 64], rate) == (16, 16.0)
