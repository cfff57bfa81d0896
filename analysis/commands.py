"""The command `tailwag fit`: parses, runs the study, prints the comparison, has the report written.

Not here: any statistics (`fits`), what the report says (`report`). Only click is imported at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import json_option

if TYPE_CHECKING:
    from .report.request import FitRequest
    from .report.study import Study

# Those of `fits/published.py`, which would import numpy here.
PROCEDURE_NAMES = ["auto", "classification", "laion400m", "retrieval", "similarity-control", "synthetic"]


@click.command()
@click.option("--counts", multiple=True, metavar="FILE", help="Counts: CSV, parquet or JSON; several times for more.")
@click.option(
    "--accuracies", multiple=True, metavar="FILE", help="Accuracies of single concepts; several times for more."
)
@click.option("--paper", metavar="DIR", help="The released files of the paper, in place of both.")
@click.option("--pretraining", metavar="NAME", help="The pretraining set: cc3m, laion400m, …")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="A model; several times for more.  [default: all]"
)
@click.option(
    "--side",
    type=click.Choice(["image", "caption", "joint"]),
    help="What was counted.  [default: what there is; of --paper joint]",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "retrieval"]),
    default="classification",
    show_default=True,
    help="Of --paper.",
)
@click.option("--metric", metavar="NAME", help="Where the accuracies have several.")
@click.option(
    "--values",
    type=click.Choice(["fraction", "percent"]),
    default="fraction",
    show_default=True,
    help="How the files of accuracies write a share.",
)
@click.option("--threshold", type=float, default=0.7, show_default=True, help="Of the image search of --paper.")
@click.option(
    "--procedure",
    type=click.Choice(PROCEDURE_NAMES),
    default="auto",
    show_default=True,
    help="Edges and drawn bins of the published figure.",
)
@click.option(
    "--count-repeated",
    is_flag=True,
    help="Count test sets everywhere whose counts are another's again (ImageNet-Sketch).",
)
@click.option("--replicates", type=click.IntRange(1), default=2000, show_default=True, help="Of resampling.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of resampling.")
@click.option("--out", metavar="DIR", help="Leave a report there: page, figures, every number as CSV.")
@json_option
def fit(out: str | None, as_json: bool, **asked: Any) -> None:
    """Fit accuracy to log frequency: as published, and concept by concept.

    The published figure takes means of ten bins; beside it stand the correlation over single concepts and the slope
    inside test sets, with intervals. Accuracies meet counts by name; whatever meets nothing is listed.

    \b
    Example:
      tailwag fit --counts counts.csv --accuracies accuracies.csv --out report
      tailwag fit --counts counts.csv --accuracies accuracies.csv --values percent --model ViT-B-32
      tailwag fit --paper frequency_determines_performance --pretraining cc3m --model RN50
      tailwag fit --paper frequency_determines_performance --pretraining laion400m --out laion
    """
    from .report.folder import check_place, write_study
    from .report.request import FitRequest
    from .report.study import run_study

    request = FitRequest(**asked)
    _check_usage(request)
    if out is not None:
        check_place(out)
    study = run_study(request)
    if out is not None:
        from .report.figures import figures_of

        write_study(study, out, figures_of(study.cells))
    _print(study, out, as_json)


def _check_usage(request: FitRequest) -> None:
    if request.paper is not None and (request.counts or request.accuracies):
        raise click.UsageError("--paper has counts and accuracies of its own: leave out --counts and --accuracies.")
    if request.paper is None and not (request.accuracies and (request.counts or request.corpus)):
        raise click.UsageError("--counts and --accuracies are needed, or --paper.")


def _print(study: Study, out: str | None, as_json: bool) -> None:
    from ..retrieval.result_tables import print_json, print_table
    from .report.comparison import ladder

    if as_json:
        print_json({**study.as_dict(), "report": out})
        return
    fits = study.fits
    for cell in study.cells:
        click.echo(f"{cell.model} on {fits.pretraining}, {fits.side} counts, {fits.metric}")
        rows = [[step.name, step.value, step.slope] for step in ladder(cell)]
        print_table(["", "r", "slope"], rows, words=(0, 2))
    for flag in fits.flags:
        click.echo(str(flag))
    for reason, number in study.reasons:
        click.echo(f"left out, {reason}: {number:,}")
    if out is not None:
        click.echo(f"Report: {out}/report.html")
