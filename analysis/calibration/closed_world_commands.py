"""The command `tailwag closed-world`: parses, calls the library, prints. Only click is imported at the top.

Not here: the pass and its warnings (`closed_world_counting.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from ...retrieval.centring_option import centre_option
from ...retrieval.concept_options import concepts_option
from ...retrieval.query_options import wanted_concepts
from .threshold_commands import make_prototypes

if TYPE_CHECKING:
    from ...retrieval.centring_choice import Centre
    from .closed_world_frequencies import ClosedWorldFrequencies

# Those of `closed_world.py`, which would import numpy here.
METHOD_NAMES = ["em", "adjusted", "softmax", "winner"]


@click.command("closed-world")
@click.argument("corpus")
@concepts_option
@click.option(
    "--labels",
    metavar="column|FILE",
    help="Rows of known class: the label column, or a file with key,concept,label (CSV or JSON lines).",
)
@click.option(
    "--labels-of", metavar="CORPUS", help="The corpus of the same space that is labelled.  [default: CORPUS itself]"
)
@click.option(
    "--method",
    type=click.Choice(METHOD_NAMES),
    default="em",
    show_default=True,
    help="em: shares under which the rows are most probable; adjusted: winners, corrected for how labelled rows are "
    "won; softmax: the sum of probabilities; winner: each row for its most similar class.",
)
@click.option(
    "--margin",
    type=float,
    default=0.0,
    metavar="DISTANCE",
    help="With winner: a row is shared evenly by the classes this close to its best.",
)
@click.option("--open", "allow_open", is_flag=True, help="Go on where the world is plainly not closed.")
@click.option("--template", metavar="TEXT|SET", help="As for `tailwag count`.")
@centre_option("no")
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the frequencies as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="PATH", help="Write the frequencies as parquet.")
def closed_world(
    corpus: str,
    concepts: str | None,
    labels: str | None,
    labels_of: str | None,
    method: Any,
    margin: float,
    allow_open: bool,
    template: str | None,
    centre: Centre,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Share the images of CORPUS out among the classes of a vocabulary that names all there is.

    For a corpus in which every image shows exactly one class of --concepts, such as a test set or a folder of one kind
    of thing. Labelled rows, which may hold other shares of the classes, say how similarities turn into classes. The
    frequencies sum to the rows. Where the world is open the answers are wrong, so it refuses when a class is a kind of
    another by name, or when most rows look like none; for concepts in a pretraining set use `tailwag calibrate`.

    \b
    Example:
      tailwag closed-world photos --concepts cifar10 --labels labels.csv
      tailwag closed-world test --concepts caltech101 --labels column --labels-of train --csv frequencies.csv
      tailwag closed-world photos --concepts cifar10 --method winner --margin 0.01
    """
    from ...embed.corpus import Corpus
    from ...retrieval.result_tables import check_folder

    if concepts is None:
        raise click.UsageError("Name the classes with --concepts: all that there are.")
    if labels_of is not None and labels is None:
        raise click.UsageError("--labels-of says whose labels are meant: pass --labels column or a file too.")
    if margin and method != "winner":
        raise click.UsageError("--margin goes with --method winner.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")
    for path in (csv_path, parquet_path):
        check_folder(path)
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    labelled = Corpus.open(database, labels_of) if labels_of is not None else opened
    wanted = wanted_concepts(None, concepts, template)
    found = _count(opened, labelled, wanted, labels, (method, margin, allow_open), (centre, model, pretrained, device))
    for warning in found.warnings:
        click.echo(f"tailwag: {warning}", err=True)
    _tell(found, as_json, csv_path, parquet_path)


def _count(
    corpus: Any, labelled: Any, wanted: Any, labels: str | None, how: tuple[Any, float, bool], made: tuple[Any, ...]
) -> ClosedWorldFrequencies:
    from tailwag.progress import progress

    from .closed_world_counting import count_closed_world, labelled_classes, require_apart
    from .labelled_rows import open_labels

    method, margin, allow_open = how
    # Names and labels first: a mistake in them should not wait for a model.
    require_apart(wanted, allow_open)
    known = open_labels(labels, labelled, wanted) if labels is not None else None
    prototypes = make_prototypes(corpus, wanted, *made)
    classes = None
    if known is not None:
        for note in known.notes:
            click.echo(f"tailwag: {known.source}: {note}", err=True)
        with progress("reading labelled rows", total=len(known)) as bar:
            classes = labelled_classes(labelled, known, prototypes, progress=bar)
    with progress("counting", total=len(corpus)) as bar:
        return count_closed_world(
            corpus,
            wanted,
            prototypes,
            classes,
            method=method,
            margin=margin,
            source=known.source if known is not None else "",
            allow_open=allow_open,
            progress=bar,
        )


def _tell(found: ClosedWorldFrequencies, as_json: bool, csv_path: str | None, parquet_path: str | None) -> None:
    from ...retrieval.recording import write_tables
    from ...retrieval.result_tables import print_json

    write_tables(found, csv_path, parquet_path)
    if as_json:
        print_json(_as_dict(found))
    elif csv_path is None and parquet_path is None:
        _print(found)


def _as_dict(found: ClosedWorldFrequencies) -> dict[str, Any]:
    from dataclasses import asdict
    from math import isnan

    from ...retrieval.result_tables import without_nan

    return {
        "corpus": found.corpus,
        "corpus_version": found.corpus_version,
        "space": {"title": found.space.title, "fingerprint": found.space.fingerprint},
        "rows": found.rows,
        "method": found.method,
        "labels": found.labels,
        "sampled": found.sampled,
        "low_similarity_share": None if isnan(found.low) else found.low,
        "warnings": list(found.warnings),
        "frequencies": [without_nan(asdict(one)) for one in found],
    }


def _print(found: ClosedWorldFrequencies) -> None:
    from math import isnan

    from ...retrieval.records.saved_frequencies import format_rows
    from ...retrieval.result_tables import print_table

    labels = f", by {found.labels}" if found.labels else ""
    click.echo(
        f"corpus '{found.corpus}' (version {found.corpus_version}, {found.space.title}): {found.rows:,} images, each "
        f"of one of {len(found):,} classes; {found.method}{labels}"
    )
    rows = []
    for one in found:
        ends = ["–" if isnan(end) else format_rows(end) for end in (one.lower, one.upper)]
        cells = [one.concept, format_rows(one.estimate), *ends, one.grade, f"{one.wins:,.0f}", f"{one.labels:,}"]
        rows.append([*cells, "; ".join(one.reasons)])
    print_table(["concept", "frequency", "from", "to", "grade", "wins", "labels", "why"], rows, words=(0, 4, 7))
    click.echo(f"sum: {sum(one.estimate for one in found):,.0f} of {found.rows:,} images.")
