"""The command group `tailwag world`: make a world, train its model, measure it, show it. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def world() -> None:
    """A drawn world whose truth is known, and the small CLIP model that sees it.

    \b
    Example:
      tailwag world make /tmp/world --n 20000
      tailwag embed /tmp/world --corpus world --model tailwag:world
    """


@world.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--n", default=20_000, show_default=True, help="Images.")
@click.option("--seed", default=0, show_default=True, help="Decides everything drawn by chance.")
@click.option("--exponent", default=1.0, show_default=True, help="Of the Zipf law of frequencies; 0 is balanced.")
@click.option("--omit", default=0.2, show_default=True, help="Share of shown concepts that captions leave out.")
@click.option("--wrong", default=0.03, show_default=True, help="Share of shown concepts that captions name wrongly.")
@click.option(
    "--prominence",
    default=0.0,
    show_default=True,
    help="How far leaving out a kind depends on size and kind: 0 not at all, 1 strongly.",
)
@click.option("--near-duplicates", default=0.0, show_default=True, help="Share of images that repeat an earlier one.")
@click.option("--shard-size", default=2_000, show_default=True, help="Images a shard.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes that draw.  [default: one a core]")
def make(
    out: Path,
    n: int,
    seed: int,
    exponent: float,
    omit: float,
    wrong: float,
    prominence: float,
    near_duplicates: float,
    shard_size: int,
    workers: int | None,
) -> None:
    """Draw a world into the folder OUT: shards as img2dataset writes them, and truth.parquet.

    The truth says which concepts each image really holds, what its caption leaves out or names wrongly, and which
    image it nearly repeats. The same options give the same bytes, however many processes draw.

    \b
    Example:
      tailwag world make /tmp/world --n 20000
      tailwag world make /tmp/tail --n 20000 --exponent 1.5 --prominence 1 --near-duplicates 0.05
    """
    from tailwag.progress import progress

    from .shards import WorldPlan, make_world

    plan = WorldPlan(n, seed, exponent, omit, wrong, prominence, near_duplicates, shard_size)
    plan.check()
    with progress("drawing", total=n, unit="images") as bar:
        truth = make_world(plan, out, workers, bar)
    click.echo(f"{n:,} images in {plan.n_shards:,} shards in {out}; what they hold is in {truth}")


@world.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the model and its checkpoint.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=None,
    help="Batches to learn from.  [default: 6000, or as the checkpoint]",
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Instead of --steps: as many as take so long.")
@click.option("--batch", type=click.IntRange(2), default=128, show_default=True, help="Images a batch.")
@click.option("--seed", default=0, show_default=True, help="Decides everything drawn by chance.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads that compute.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT.")
@click.option("--measure/--no-measure", "and_measure", default=True, show_default=True, help="Measure it afterwards.")
def train(
    out: Path,
    steps: int | None,
    minutes: float | None,
    batch: int,
    seed: int,
    threads: int,
    resume: bool,
    and_measure: bool,
) -> None:
    """Train the world's CLIP from nothing, on balanced images that are drawn meanwhile.

    Writes a folder in open_clip's local-dir layout (use it as --model local-dir:OUT), then measures it. A checkpoint
    every 500 steps; --resume with fewer --steps brings a run to an earlier end.

    \b
    Example:
      tailwag world train --out /tmp/world-model --minutes 30
      tailwag embed /tmp/world --corpus world --model local-dir:/tmp/world-model
    """
    from .packaged_model import TrainingRecord, write_model
    from .training import TrainingPlan, check_start, checkpoint_plan, steps_in
    from .training import train as run_training

    if steps is not None and minutes is not None:
        raise click.UsageError("--steps and --minutes exclude each other: pass one")
    left = checkpoint_plan(out) if resume else None
    if steps is None:
        steps = left.steps if left is not None else TrainingPlan.steps
    plan = TrainingPlan(steps=steps, batch=batch, seed=seed, threads=threads)
    check_start(plan, out, resume)
    if minutes is not None:
        plan = steps_in(minutes, plan)
        click.echo(f"{minutes:g} minutes are about {plan.steps:,} steps here", err=True)

    def report(line: str) -> None:
        click.echo(line, err=True)

    model, seconds = run_training(plan, out, resume, report)
    write_model(model, TrainingRecord(plan.steps, plan.batch, plan.seed, plan.threads, seconds / 60), out)
    if and_measure:
        _measure(out)
    click.echo(f"a model in {out}; use it as --model local-dir:{out}")


@world.command()
@click.argument("folder", type=click.Path(path_type=Path))
def measure(folder: Path) -> None:
    """Measure a trained model: writes thresholds.csv, measured.json and the card README.md into its FOLDER.

    \b
    Example:
      tailwag world measure /tmp/world-model
    """
    _measure(folder)


def _measure(folder: Path) -> None:
    from .measuring import measure_model

    measured = measure_model(folder, lambda line: click.echo(line, err=True))
    for name, share in measured["accuracy"].items():
        click.echo(f"{name:16} {100 * share:5.1f} %")


@world.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The PNG to write.")
@click.option("--seed", default=0, show_default=True, help="Decides everything drawn by chance.")
def show(out: Path, seed: int) -> None:
    """Write a picture of the world: every kind once, then scenes.

    \b
    Example:
      tailwag world show --out world.png
    """
    from .contact_sheet import write_contact_sheet

    size = write_contact_sheet(out, seed)
    click.echo(f"{out}, {size / 1000:.0f} kB")


@world.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The TOML to write.")
def concepts(out: Path) -> None:
    """Write the world's concept set, as it ships under the name `world`.

    \b
    Example:
      tailwag world concepts --out world.toml
    """
    from .prompts import concept_set_toml

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(concept_set_toml())
    click.echo(f"the world's concepts in {out}")
