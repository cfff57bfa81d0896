"""What a running job tells: Prometheus metrics as a scraper meets them, and when the next groups are how large."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tailwag.embed.database import Database
from tailwag.embed.failures import Failure, Reason
from tailwag.embed.job import EmbeddingPlan
from tailwag.embed.job.groups import MOST_ROWS, GroupDone, GroupSource
from tailwag.embed.job.metrics import Metrics
from tailwag.embed.ledger import ShardRecord
from tailwag.embed.reading import ShardReader
from tailwag.embed.sources import Shard
from tailwag.errors import TailwagError

RECORD = ShardRecord("s", "/s.tar", True, 1, "", 9, 7, 2, 0, 0.0, 0.0, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def plan(tmp_path):
    shards = (Shard("s", Path("/s.tar"), 1), Shard("t", Path("/t.tar"), 1))
    return EmbeddingPlan(Database(tmp_path), "c", shards, 0, (), 0, ShardReader())


def test_metrics_are_served_on_this_machine(plan):
    metrics = Metrics(plan, 0)
    try:
        metrics.advance(9)
        metrics.shard(RECORD, [Failure("s/1", "s", Reason.NO_IMAGE, "")] * 2)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=30) as answer:
            told = answer.read().decode()
        for line in (
            'tailwag_embed_progress_total{corpus="c"} 9.0',
            'tailwag_embed_samples_total{corpus="c"} 9.0',
            'tailwag_embed_rows_total{corpus="c"} 7.0',
            'tailwag_embed_failures_total{corpus="c",reason="no image"} 2.0',
            'tailwag_embed_shards_planned{corpus="c"} 2.0',
        ):
            assert line in told.splitlines()
        with pytest.raises(TailwagError, match=f"port {metrics.port} at 127.0.0.1 cannot be had"):
            Metrics(plan, metrics.port)
    finally:
        metrics.close()


def shards(many, size=100, expected=10):
    return [Shard(f"s{number:03d}", Path(f"/{number}.tar"), size, expected=expected) for number in range(many)]


def done(group, seconds, left=()):
    records = [
        (replace(RECORD, shard=shard.name, samples=shard.expected or 10), ())
        for shard in group.shards
        if shard.name not in left
    ]
    return GroupDone(group, (), tuple(records), dict.fromkeys(left, "unreadable"), seconds)


def test_groups_grow_to_what_a_worker_does_in_the_time_asked_for():
    source = GroupSource(shards(100), workers=1, target_seconds=10)
    first = source.next()
    assert len(first.shards) == 1
    source.done(done(first, seconds=1))
    assert len(source.next().shards) == 10


def test_a_shard_that_is_finally_left_does_not_count_towards_a_limit():
    source = GroupSource(shards(9), workers=1, limit=30)
    groups = [source.next() for _ in range(3)]
    assert source.next() is None
    for group in groups:
        source.done(done(group, 1, left=["s001"]))
    again = source.next()
    assert [shard.name for shard in again.shards] == ["s001"]
    source.done(done(again, 1, left=["s001"]))
    assert [shard.name for shard in source.next().shards] == ["s003"]
    assert source.next() is None


def test_groups_shrink_towards_the_end_so_that_workers_finish_together():
    source = GroupSource(shards(41), workers=2, target_seconds=1000)
    source.done(done(source.next(), seconds=1))
    sizes = []
    while (group := source.next()) is not None:
        sizes.append(len(group.shards))
        source.done(done(group, seconds=len(group.shards)))
    assert sum(sizes) == 40 and sizes == sorted(sizes, reverse=True) and sizes[0] == 9 and sizes[-1] == 1


def test_a_group_has_no_more_rows_than_a_file_of_lance():
    source = GroupSource(shards(20, expected=MOST_ROWS // 4), workers=1, target_seconds=1e9)
    source.done(done(source.next(), seconds=1))
    assert len(source.next().shards) == 4


def test_what_was_lost_comes_again_alone_and_then_is_left():
    source = GroupSource(shards(3), workers=1, target_seconds=1e9)
    source.done(done(source.next(), seconds=1))
    group = source.next()
    assert [shard.name for shard in group.shards] == ["s001", "s002"]
    source.lost(group, "it died")
    alone, other = source.next(), source.next()
    assert [shard.name for shard in (*alone.shards, *other.shards)] == ["s001", "s002"]
    source.lost(alone, "it died again")
    source.done(done(other, seconds=1))
    assert source.next() is None and source.is_empty
    assert source.left == {"s001": "it died again"}


def test_a_shard_that_cannot_be_read_is_tried_once_more_at_the_end():
    source = GroupSource(shards(2), workers=1)
    first = source.next()
    source.done(done(first, seconds=1, left=["s000"]))
    assert [shard.name for shard in source.next().shards] == ["s001"]
    again = source.next()
    assert (again.attempt, [shard.name for shard in again.shards]) == (2, ["s000"])
    source.done(done(again, seconds=1, left=["s000"]))
    assert source.next() is None and source.left == {"s000": "unreadable"}
