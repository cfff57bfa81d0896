"""The command `tailwag demo`: parses, runs the demo, prints. Worlds have their own commands (`world/commands.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tailwag.options import device_option, json_option

if TYPE_CHECKING:
    from .demo import Demo


@click.command()
@click.option(
    "--out", default="tailwag-demo", show_default=True, help="Folder for the world, the database, the report."
)
@click.option("--n", "images", type=click.IntRange(1), default=20_000, show_default=True, help="Images of the world.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the world.")
@click.option("--exponent", type=float, default=1.0, show_default=True, help="Zipf exponent of its frequencies.")
@click.option("--source", "sources", multiple=True, help="Your own shards or folder of images, instead of a world.")
@click.option("--model", default=None, help="With --source: open_clip name, hf-hub:NAME, local-dir:FOLDER.")
@click.option("--pretrained", default=None, help="With --source: open_clip's tag of the weights.")
@click.option("--concepts", default=None, help="With --source: a concept set.  [default: its labels, else everyday]")
@click.option("--query", default=None, help="The ad-hoc question that is answered with pictures.")
@device_option
@json_option
def demo(
    out: str,
    images: int,
    seed: int,
    exponent: float,
    sources: tuple[str, ...],
    model: str | None,
    pretrained: str | None,
    concepts: str | None,
    query: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Do the main job once: embed, index, count, compare with the truth, show pictures, leave a report.

    Without --source a world is drawn whose truth is known, and read with the small model that ships. It needs no GPU
    and no network. With --source the same is done with your own images, as far as it goes without a truth.

    \b
    Example:
      tailwag demo
      tailwag demo --source 'shards/{00000..00009}.tar' --model ViT-B-32 --pretrained laion2b_s34b_b79k
    """
    from pathlib import Path

    if sources and model is None:
        raise click.UsageError("--source needs --model, for example --model ViT-B-32 --pretrained laion2b_s34b_b79k")
    if not sources and (model or pretrained or concepts):
        raise click.UsageError("--model, --pretrained and --concepts go with --source; the world has its own")

    def say(line: str) -> None:
        click.echo(line, err=True)

    from .demo import run_source_demo, run_world_demo, write_counts
    from .demo_report import write_report

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if sources:
        from ..embed.encoder import Encoder

        assert model is not None
        done = run_source_demo(folder, sources, Encoder.load(model, pretrained, device), concepts, query, say)
    else:
        from .world.shards import WorldPlan

        plan = WorldPlan(images, seed=seed, exponent=exponent, omit=0.2, wrong=0.03, near_duplicates=0.02)
        done = run_world_demo(folder, plan, query or "a photo of a mushroom", say, device)
    write_counts(done, folder / "counts.csv")
    write_report(done, folder / "report.html")
    _print(done, folder / "report.html", as_json)


def _print(done: Demo, report: object, as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps({**done.summary(), "report": str(report)}))
        return
    assert done.count_result is not None
    click.echo(
        f"{done.count_result.rows:,} images embedded with {done.title}, {done.failures:,} failures; "
        f"{len(done.counts)} concepts counted exactly in one pass of {done.count_result.seconds:.1f} s."
    )
    click.echo(f"Thresholds: {done.threshold_source}.")
    if done.count_agreement:
        click.echo(f"Counts against the truth ({done.truth_source}): {done.count_agreement}.")
    if done.estimate_agreement:
        click.echo(f"Counts over the thresholds' recall: {done.estimate_agreement}.")
    if done.frequency_agreement:
        click.echo(f"Frequencies corrected by captions, without a label: {done.frequency_agreement}.")
        click.echo(f"The truth is inside {done.inside()} of {len(done.counts)} of their 95 % intervals.")
    click.echo(f"Report: {report}")
