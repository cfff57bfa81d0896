"""The command `tailwag embed`: parses, calls the job, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tailwag.options import database_option, device_option, json_option

from .failures import Reason

if TYPE_CHECKING:
    from .database import Database
    from .encoder import Precision
    from .job import EmbeddingPlan, EmbeddingReport
    from .job.running import Engine
    from .job.worker_settings import DecodeIn, WorkerSettings


def _batch_size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """Read a number, or ``auto``."""
    return value if value in (None, "auto") else click.IntRange(1)(value, parameter, context)


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--corpus", required=True, help="Name of the corpus to make or to add to.")
@click.option("--model", default=None, help="open_clip name, hf-hub:NAME, local-dir:FOLDER or tailwag:world.")
@click.option("--pretrained", default=None, help="open_clip's tag of the weights.")
@database_option
@device_option
@click.option(
    "--batch-size",
    callback=_batch_size,
    metavar="N|auto",
    help="Pictures a forward pass; auto tries some sizes first.  [default: auto on a GPU, else 4 to 32]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="In which the model computes.  [default: float16 on a GPU where that keeps the vectors, else float32]",
)
@click.option("--compile", "compile_model", is_flag=True, help="Compile the model: a minute at first, then quicker.")
@click.option(
    "--decode-in",
    type=click.Choice(["threads", "processes"]),
    help="Where pictures are decoded.  [default: processes for a GPU, else threads]",
)
@click.option(
    "--workers", type=click.IntRange(1), default=None, help="Threads a model.  [default: one a core, at most 16]"
)
@click.option(
    "--engine",
    type=click.Choice(["local", "inline", "ray"]),
    default="local",
    show_default=True,
    help="local: a process a GPU, or one on the CPU. inline: in this process. ray: a Ray cluster.",
)
@click.option("--ray-address", default=None, help="Of the cluster.  [default: the one this machine belongs to]")
@click.option("--limit", type=click.IntRange(1), default=None, help="Stop after so many samples, at a shard's end.")
@click.option("--dry-run", is_flag=True, help="Print the plan with a short measurement, and stop.")
@click.option("--retry-failed", is_flag=True, help="Read shards with failures again, for what failed.")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
    metavar="REASON",
    help="With --retry-failed: only shards with this kind of failure, as `tailwag info` lists them; repeatable.",
)
@click.option(
    "--commit-every",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds of a worker's work that are committed together, and lost with it at most.",
)
@click.option("--log", "log_file", type=click.Path(dir_okay=False, path_type=Path), help="Append a JSON line a shard.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=None, help="Serve Prometheus metrics on this machine."
)
@json_option
def embed(
    sources: tuple[str, ...],
    corpus: str,
    model: str | None,
    pretrained: str | None,
    database: str,
    device: str | None,
    batch_size: int | Literal["auto"] | None,
    precision: Precision | None,
    compile_model: bool,
    decode_in: DecodeIn | None,
    workers: int | None,
    engine: str,
    ray_address: str | None,
    limit: int | None,
    dry_run: bool,
    retry_failed: bool,
    reasons: tuple[str, ...],
    commit_every: float,
    log_file: Path | None,
    metrics_port: int | None,
    as_json: bool,
) -> None:
    """Embed pictures and captions into a corpus.

    SOURCE is a .tar shard as img2dataset or webdataset write it, a .parquet with pictures in it, a pattern of them, a
    folder of shards, or a folder of images (label: the sub-folder; caption: a .txt of the same name, or a CSV or JSONL
    in the folder), here or, but for .parquet, on an object store (s3://, https://). What cannot be embedded is listed
    with its reason in CORPUS.failures. The same command again goes on where it was stopped, however it was stopped.

    \b
    Example:
      tailwag embed 'cc3m/{00000..00331}.tar' --corpus cc3m --model ViT-B-32 --pretrained laion2b_s34b_b79k
      tailwag embed ./holiday-pictures --corpus holiday --model tailwag:world
      tailwag embed 's3://bucket/cc3m/*.tar' --corpus cc3m --model ViT-B-32 --pretrained openai --db s3://bucket/db
      tailwag embed --corpus cc3m --retry-failed --reason 'truncated shard'
    """
    import json

    from .database import Database, check_corpus_name
    from .job import EmbeddingReport, plan_embedding, plan_retry
    from .job.describing import describe_report, nothing_to_do
    from .job.worker_settings import WorkerSettings

    if not sources and not retry_failed:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    if reasons and not retry_failed:
        raise click.UsageError("--reason chooses among failures: pass --retry-failed with it.")
    check_corpus_name(corpus)
    opened = Database(database)
    if retry_failed:
        plan = plan_retry(sources, opened, corpus, [Reason(reason) for reason in reasons])
    else:
        plan = plan_embedding(sources, opened, corpus, limit)
    if not plan.shards and (model is None or retry_failed or dry_run):
        click.echo(nothing_to_do(plan, retry_failed), err=True)
        if as_json:
            click.echo(json.dumps(EmbeddingReport().as_dict()))
        return
    if engine == "inline" and decode_in == "processes":
        raise click.UsageError("--decode-in processes goes with --engine local or ray.")
    settings = WorkerSettings(
        model,
        pretrained,
        _space(opened, corpus, model),
        device,
        workers,
        batch_size,
        precision=precision,
        compile=compile_model,
        decode_in=decode_in,
    )
    if dry_run:
        from .job.dry_run import measure

        measured = measure(plan, settings)
        click.echo(json.dumps(measured.as_dict()) if as_json else "\n".join(measured.lines()), err=not as_json)
        return
    made = _engine(engine, settings, plan, ray_address)
    report = _run(plan, made, commit_every, log_file, metrics_port)
    click.echo(json.dumps(report.as_dict()) if as_json else describe_report(plan, report))


def _space(database: Database, corpus: str, model: str | None):  # noqa: ANN202 (of `space`, which is not imported here)
    from tailwag.errors import BadInput

    from .corpus import Corpus

    if database.has_table(corpus):
        return Corpus.open(database, corpus).space
    if model is None:
        raise BadInput(f"corpus {corpus!r} does not exist yet: pass --model, for example --model ViT-B-32")
    return None


def _engine(engine: str, settings: WorkerSettings, plan: EmbeddingPlan, ray_address: str | None) -> Engine:
    if engine == "ray":
        from .job.ray_engine import RayEngine

        return RayEngine(settings, ray_address)
    if engine == "inline":
        from .job.running import ThisProcess

        encoder = settings.load()
        return ThisProcess(encoder, plan.reader, settings.threads_here(), settings.batch_size_on(encoder))
    from .job.local_engine import LocalEngine, local_devices

    return LocalEngine(settings, local_devices(settings.device))


def _run(
    plan: EmbeddingPlan, engine: Engine, commit_every: float, log_file: Path | None, metrics_port: int | None
) -> EmbeddingReport:
    """Run the job with all who watch it; a signal to end stops it as Ctrl-C does."""
    import signal
    from contextlib import ExitStack, closing

    from tailwag.errors import TailwagError
    from tailwag.progress import progress

    from .job import run_job
    from .job.describing import describe_plan
    from .job.metrics import Metrics
    from .job.shard_log import ShardLog
    from .job.watching import Watchers

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with ExitStack() as stack:
        log = stack.enter_context(closing(ShardLog(log_file, plan.corpus))) if log_file is not None else None
        metrics = stack.enter_context(closing(Metrics(plan, metrics_port))) if metrics_port is not None else None
        if metrics is not None:
            click.echo(f"metrics  http://127.0.0.1:{metrics.port}/metrics", err=True)
        bar = stack.enter_context(progress(f"embedding {plan.corpus}", plan.samples, "samples"))
        watchers = Watchers(bar, log, metrics)
        try:
            report = run_job(
                plan,
                engine,
                progress=watchers,
                on_shard=watchers.shard,
                on_ready=lambda: click.echo(describe_plan(plan, engine), err=True),
                group_seconds=commit_every,
            )
        except KeyboardInterrupt:
            raise TailwagError(
                f"stopped; {watchers.shards:,} of {len(plan.shards):,} shards are in corpus {plan.corpus!r}: the same "
                "command goes on from there"
            ) from None
        if log is not None:
            log.end(report)
    return report
