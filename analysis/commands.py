"""The command `tailwag fit`: parses, runs the study, prints the comparison, has the report written.

Not here: any statistics (`fits`), what the report says (`report`). Only click is imported at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, json_option

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
@click.option("--corpus", metavar="NAME", help="Counts saved in the database by `tailwag count --save`.")
@database_option
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
    "--similarity",
    metavar="FILE",
    help="A table concept,similarity of test images to the set; shows the correlation with it held fixed.",
)
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
@click.option("--all", "every", is_flag=True, help="Every pretraining set and model of --paper, in one table.")
@click.option(
    "--configuration", metavar="FILE", help="Run a report's configuration.json again; other choices are its own."
)
@click.option("--out", metavar="DIR", help="Leave a report there: page, figures, every number as CSV.")
@json_option
def fit(out: str | None, as_json: bool, configuration: str | None, **asked: Any) -> None:
    """Fit accuracy to log frequency: as published, and concept by concept.

    The published figure takes means of ten bins; beside it stand the correlation over single concepts and the slope
    inside test sets, with intervals. Accuracies meet counts by name; whatever meets nothing is listed. Without --out
    nothing is written.

    \b
    Example:
      tailwag fit --counts counts.csv --accuracies accuracies.csv --out report
      tailwag fit --counts counts.csv --accuracies accuracies.csv --values percent --model ViT-B-32
      tailwag fit --corpus cc3m --accuracies accuracies.csv --out report
      tailwag fit --paper frequency_determines_performance --pretraining cc3m --model RN50
      tailwag fit --paper frequency_determines_performance --pretraining laion400m --out laion
      tailwag fit --paper frequency_determines_performance --all
      tailwag fit --configuration report/configuration.json --out again
    """
    from .report.folder import check_place
    from .report.request import FitRequest, load_request

    if asked["corpus"] is None:
        asked["database"] = None
    request = FitRequest(**asked) if configuration is None else load_request(configuration)
    _check_usage(request, configuration is not None and request_given(asked))
    if out is not None:
        check_place(out)
    if request.every:
        _fit_all(request, out, as_json)
    else:
        _fit_one(request, out, as_json)


def request_given(asked: dict[str, Any]) -> bool:
    """Whether a file was named on the command line besides a configuration."""
    return any(
        asked[name]
        for name in ("counts", "accuracies", "paper", "corpus", "pretraining", "models", "similarity", "every")
    )


def _check_usage(request: FitRequest, both: bool) -> None:
    if both:
        raise click.UsageError("--configuration says what is read and fitted: leave the other options out.")
    if request.paper is not None and (request.counts or request.accuracies or request.corpus):
        raise click.UsageError("--paper has counts and accuracies of its own: leave out --counts and --accuracies.")
    if request.counts and request.corpus:
        raise click.UsageError("--corpus has the counts saved in the database: leave out --counts.")
    if request.paper is None and not (request.accuracies and (request.counts or request.corpus)):
        raise click.UsageError("--counts (or --corpus) and --accuracies are needed, or --paper.")
    if request.every and request.paper is None:
        raise click.UsageError("--all goes through the paper's release: name its folder with --paper.")
    if request.every and request.pretraining is not None:
        raise click.UsageError("--all takes every pretraining set: leave out --pretraining.")


def _fit_one(request: FitRequest, out: str | None, as_json: bool) -> None:
    from ..retrieval.result_tables import print_json
    from .report.study import run_study

    study = run_study(request)
    if out is not None:
        from .report.figures import figures_of
        from .report.folder import write_study

        write_study(study, out, figures_of(study.cells))
    if as_json:
        print_json({**study.as_dict(), "report": out})
    else:
        _print_study(study)
        _say_where(out)


def _fit_all(request: FitRequest, out: str | None, as_json: bool) -> None:
    from ..retrieval.result_tables import print_json, print_table
    from .report.all_cells import HEADINGS, run_all, text_alternative

    found = run_all(request, lambda pretraining: click.echo(f"fitting {pretraining}", err=True))
    if out is not None:
        from .report.figures import figures_of_all
        from .report.folder import write_all_cells

        write_all_cells(found, out, figures_of_all(found.cells))
    if as_json:
        print_json({**found.as_dict(), "report": out})
        return
    print_table(HEADINGS, found.rows())
    click.echo(text_alternative(found))
    click.echo(
        f"p is of the slope inside test sets, corrected for {len(found.cells)} tests; slopes in points a decade."
    )
    for pretraining, reason in found.left_out:
        click.echo(f"left out, {pretraining}: {reason}")
    _say_where(out)


def _print_study(study: Study) -> None:
    from ..retrieval.result_tables import print_table
    from .report.comparison import ladder

    fits = study.fits
    for cell in study.cells:
        click.echo(f"{cell.model} on {fits.pretraining}, {fits.side} counts, {fits.metric}:")
        rows = [[step.name, step.value, step.slope] for step in ladder(cell)]
        print_table(["", "r", "slope"], rows, words=(0, 2))
        click.echo("")
    for flag in fits.flags:
        click.echo(str(flag))
    for reason, number in study.reasons:
        click.echo(f"left out, {reason}: {number:,}")


def _say_where(out: str | None) -> None:
    if out is not None:
        click.echo(f"Report: {out}/report.html")
