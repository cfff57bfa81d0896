"""A plan and a report in words, a line a fact."""

from __future__ import annotations

from .planning import EmbeddingPlan
from .report import EmbeddingReport
from .running import Engine


def nothing_to_do(plan: EmbeddingPlan, retry_failed: bool) -> str:
    """Say that there is nothing to embed, and why."""
    if retry_failed:
        return f"no shard of corpus {plan.corpus!r} has such failures: nothing to do"
    return f"all {plan.shards_done:,} shards are in corpus {plan.corpus!r} already: nothing to do"


def plan_lines(plan: EmbeddingPlan) -> list[str]:
    """Lay out what is to be read."""
    samples = plan.samples
    lines = [
        f"corpus   {plan.corpus} in {plan.database.uri}",
        f"shards   {len(plan.shards):,} to embed ({plan.size / 1e6:,.1f} MB), {plan.shards_done:,} done before",
        f"samples  {f'{samples:,}' if samples is not None else 'unknown until read'}"
        + (" to try again" if plan.again else ""),
    ]
    if plan.images_beside_tars:
        lines.append(f"note     {plan.images_beside_tars:,} images beside .tar files are passed over")
    return lines


def describe_plan(plan: EmbeddingPlan, engine: Engine) -> str:
    """Lay out what is to be done, and where."""
    if not plan.shards:
        return nothing_to_do(plan, retry_failed=False)
    many = f", {engine.workers} workers" if engine.workers > 1 else ""
    lines = [*plan_lines(plan), f"device   {engine.device} (engine {engine.name}{many})"]
    if engine.device == "cpu":
        lines.append("note     this runs on a CPU; a GPU is some hundred times as fast")
    return "\n".join(lines)


def describe_report(plan: EmbeddingPlan, report: EmbeddingReport) -> str:
    """Lay out what was done."""
    lines = [
        f"{report.samples:,} samples: {report.rows:,} rows and {report.failures:,} failures in {plan.corpus!r}, "
        f"{duration(report.seconds)}, {report.rate:,.0f} samples/s",
        f"decoding {report.decode_seconds:,.1f} s and model{f' in {report.precision}' if report.precision else ''} "
        f"{report.compute_seconds:,.1f} s (summed over threads), "
        f"writing {report.write_seconds:,.1f} s",
    ]
    lines += [f"  {count:>8,}  {reason}" for reason, count in report.reasons.most_common()]
    if report.cut_captions:
        lines.append(f"{report.cut_captions:,} captions were longer than the model reads, and were cut")
    if report.lost_workers:
        lines.append(f"{report.lost_workers:,} workers died and were started anew")
    if report.undone:
        lines.append(f"an interrupted run's work was undone first: {', '.join(report.undone)}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Write a time as people do."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
