"""The command `tailwag embed`: parses, calls the job, prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tailwag.options import database_option, device_option, json_option

if TYPE_CHECKING:
    from .database import Database
    from .encoder import Encoder
    from .job import EmbeddingPlan, EmbeddingReport


# On a GPU each thread holds a decoded batch: more of them decode no faster than the GPU takes.
_MOST_WORKERS = 16


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--corpus", required=True, help="Name of the corpus to make or to add to.")
@click.option("--model", default=None, help="open_clip name, hf-hub:NAME, local-dir:FOLDER or tailwag:world.")
@click.option("--pretrained", default=None, help="open_clip's tag of the weights.")
@database_option
@device_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=None,
    help="Pictures a forward pass.  [default: 256 on a GPU, else 32]",
)
@click.option("--workers", type=click.IntRange(1), default=None, help="Threads.  [default: one a core, at most 16]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@json_option
def embed(
    sources: tuple[str, ...],
    corpus: str,
    model: str | None,
    pretrained: str | None,
    database: str,
    device: str | None,
    batch_size: int | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Embed pictures and captions into a corpus.

    SOURCE is a .tar shard as img2dataset or webdataset write it, a pattern of them, a folder of shards, or a folder of
    images (label: the sub-folder; caption: a .txt of the same name, or a CSV or JSONL in the folder). What cannot be
    embedded is listed with its reason in CORPUS.failures. The same command again goes on where it was stopped.

    \b
    Example:
      tailwag embed 'cc3m/{00000..00331}.tar' --corpus cc3m --model ViT-B-32 --pretrained laion2b_s34b_b79k
      tailwag embed ./holiday-pictures --corpus holiday --model tailwag:world
    """
    import json
    import os

    from tailwag.progress import progress

    from .database import Database, check_corpus_name
    from .job import EmbeddingReport, plan_embedding, run_embedding

    check_corpus_name(corpus)
    opened = Database(database)
    plan = plan_embedding(sources, opened, corpus)
    if not plan.shards and model is None:
        click.echo(_nothing_to_do(plan), err=True)
        if as_json:
            click.echo(json.dumps(_as_dict(EmbeddingReport())))
        return
    encoder = _load(opened, corpus, model, pretrained, device)
    batch_size = batch_size or (256 if encoder.device.type == "cuda" else 32)
    workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    click.echo(_describe_plan(plan, encoder, workers, batch_size), err=True)
    if dry_run:
        return
    with progress(f"embedding {corpus}", plan.samples, "samples") as bar:
        report = run_embedding(plan, encoder, batch_size=batch_size, workers=workers, progress=bar)
    click.echo(json.dumps(_as_dict(report)) if as_json else _describe_report(plan, report))


def _load(database: Database, corpus: str, model: str | None, pretrained: str | None, device: str | None) -> Encoder:
    from tailwag.errors import BadInput

    from .corpus import Corpus
    from .encoder import Encoder

    if model is None:
        if not database.has_table(corpus):
            raise BadInput(f"corpus {corpus!r} does not exist yet: pass --model, for example --model ViT-B-32")
        return Encoder.for_space(Corpus.open(database, corpus).space, device=device)
    return Encoder.load(model, pretrained, device)


def _nothing_to_do(plan: EmbeddingPlan) -> str:
    return f"all {plan.shards_done:,} shards are in corpus {plan.corpus!r} already: nothing to do"


def _describe_plan(plan: EmbeddingPlan, encoder: Encoder, workers: int, batch_size: int) -> str:
    if not plan.shards:
        return _nothing_to_do(plan)
    rate = encoder.images_per_second(workers, batch_size)
    samples = plan.samples
    lines = [
        f"corpus   {plan.corpus} in {plan.database.uri}",
        f"shards   {len(plan.shards):,} to embed ({plan.size / 1e6:,.1f} MB), {plan.shards_done:,} done before",
        f"samples  {f'{samples:,}' if samples is not None else 'unknown until read'}",
        f"model    {encoder.space.title}, {encoder.space.dimension} dimensions, space {encoder.space.fingerprint}",
        f"device   {encoder.device}, some {rate:,.0f} images/s for the model alone"
        + (f", at best {_duration(samples / rate)}" if samples is not None else ""),
    ]
    if plan.images_beside_tars:
        lines.append(f"note     {plan.images_beside_tars:,} images beside .tar files are passed over")
    return "\n".join(lines)


def _describe_report(plan: EmbeddingPlan, report: EmbeddingReport) -> str:
    rate = report.samples / report.seconds if report.seconds else 0.0
    lines = [
        f"{report.samples:,} samples: {report.rows:,} rows and {report.failures:,} failures in {plan.corpus!r}, "
        f"{_duration(report.seconds)}, {rate:,.0f} samples/s",
        f"decoding {report.decode_seconds:,.1f} s and model {report.compute_seconds:,.1f} s (summed over threads), "
        f"writing {report.write_seconds:,.1f} s",
    ]
    lines += [f"  {count:>8,}  {reason}" for reason, count in report.reasons.most_common()]
    if report.undone:
        lines.append(f"an interrupted run's work was undone first: {', '.join(report.undone)}")
    return "\n".join(lines)


def _as_dict(report: EmbeddingReport) -> dict[str, object]:
    return {**vars(report), "failures": report.failures, "reasons": dict(report.reasons)}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
