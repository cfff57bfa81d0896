"""The commands `tailwag verify` and `tailwag diff`: parse, call the library, print.

Not here: the library (`records/`), what `tailwag count` keeps (`recording.py`). Only click is imported at the top.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options

from .centring_option import centre_option, was_given
from .concept_options import concepts_option

if TYPE_CHECKING:
    import numpy as np

    from .centring_choice import Centre


@click.command()
@click.argument("run", metavar="RUN|FILE")
@click.option("--parts", type=click.IntRange(min=1), default=5, show_default=True, help="Parts to count again.")
@click.option("--all", "everything", is_flag=True, help="Count all parts again, and the histograms.")
@click.option("--seed", type=click.IntRange(min=0), help="For the choice of parts.  [default: one that nobody knows]")
@click.option(
    "--rows",
    "chosen",
    multiple=True,
    metavar="FILE.npy",
    help="The rows of a control that were chosen by hand, as booleans: a certificate keeps but their digest.",
)
@click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="What counts: auto, cpu, reference, …"
)
@database_option
@json_option
def verify(
    run: str,
    parts: int,
    everything: bool,
    seed: int | None,
    chosen: tuple[str, ...],
    backend: str,
    database: str,
    as_json: bool,
) -> None:
    """Check a certificate against its corpus: the saved one of a RUN, or a FILE.

    Its totals must be the sums of its parts and its parts the corpus at its version; some of them, chosen at random,
    are read and counted again. Exit status 0: accepted. 1: refuted, or it cannot be found out; one line says why.

    \b
    Example:
      tailwag verify 20260731T142233.123456Z-9f3a07
      tailwag verify counts.certificate --parts 20
      tailwag verify counts.certificate --all --json
    """
    from tailwag.errors import Refuted
    from tailwag.progress import progress

    from ..embed.database import Database
    from .records import load_certificate, read_certificate, verify
    from .records.printing import print_verdict, verdict_as_dict
    from .records.runs import is_run_name
    from .result_tables import print_json

    opened = Database(database)
    saved = is_run_name(run) and not Path(run).is_file()
    masks = [_read_rows(path) for path in chosen]
    try:
        certificate = load_certificate(opened, run) if saved else read_certificate(run)
        with progress("counting again") as bar:
            verdict = verify(
                certificate,
                opened,
                None if everything else parts,
                seed,
                saved=saved,
                chosen=masks,
                backend=backend,
                progress=bar,
            )
    except Refuted as error:
        if as_json:
            print_json({"accepted": False, "reason": str(error)})
            sys.stdout.flush()
        raise
    print_json(verdict_as_dict(verdict)) if as_json else print_verdict(verdict)


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("concept", required=False)
@concepts_option
@click.option("--threshold", type=float, help="Least similarity of a hit, from -1 to 1.")
@click.option("--thresholds", metavar="LIST|FILE.csv", help="Several: 0.24,0.26; or a CSV with concept,threshold.")
@click.option("--template", metavar="TEXT|SET", help="As in `tailwag count`.")
@centre_option("no")
@click.option(
    "--side", type=click.Choice(["image", "text"]), default="image", show_default=True, help="Vectors compared."
)
@database_option
@query_model_options[0]
@query_model_options[1]
@device_option
@click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="What counts: auto, cpu, reference, …"
)
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the table as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="PATH", help="Write the table as parquet.")
def diff(
    first: str,
    second: str,
    concept: str | None,
    concepts: str | None,
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    centre: Centre,
    side: Any,
    database: str,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    backend: str,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Compare the counts of A and B: what did filtering or growing do to each concept?

    A and B are each CORPUS, CORPUS@VERSION, or the RUN of a saved count. Without a CONCEPT, what a saved count of one
    of them asked is compared. Saved counts are used where there are any; rows that both versions of a corpus share are
    read once.

    \b
    Example:
      tailwag diff cc3m@4 cc3m
      tailwag diff cc3m cc3m-filtered --concepts caltech101 --threshold 0.27
      tailwag diff 20260731T142233.123456Z-9f3a07 20260803T090512.000451Z-4be811 --csv -
    """
    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from ..embed.database import Database
    from .recording import write_tables
    from .records import compare
    from .records.comparison import find_side
    from .records.printing import comparison_as_dict, print_comparison, report_comparison
    from .result_tables import check_folder, print_json

    named = concept is not None or concepts is not None
    _check_diff_usage(concept, concepts, threshold, thresholds, template, as_json, csv_path)
    if not named and was_given():
        raise click.UsageError("--centre goes with CONCEPT or --concepts: a saved count says what is compared.")
    for path in (csv_path, parquet_path):
        check_folder(path)
    opened = Database(database)
    sides = [find_side(opened, text) for text in (first, second)]
    query = None
    if named:
        corpora = [one for one in sides if isinstance(one, Corpus)]
        if len(corpora) < 2:
            raise click.UsageError("A run has its own concepts: leave out CONCEPT and --concepts, or name two corpora.")
        from .query_options import query_from_options

        asked = (concept, concepts, threshold, thresholds, template, centre)
        query = query_from_options(corpora[0], *asked, side, (model, pretrained, device))
    with progress("counting") as bar:
        comparison = compare(opened, sides[0], sides[1], query, backend, bar, side)
    report_comparison(comparison)
    write_tables(comparison, csv_path, parquet_path)
    if as_json:
        print_json(comparison_as_dict(comparison))
    elif csv_path is None and parquet_path is None:
        print_comparison(comparison)


def _check_diff_usage(
    concept: str | None,
    concepts: str | None,
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    as_json: bool,
    csv_path: str | None,
) -> None:
    """Refuse options that contradict each other, as click does what it cannot parse: exit status 2."""
    if concept is not None and concepts is not None:
        raise click.UsageError("Name a CONCEPT or --concepts, not both.")
    if threshold is not None and thresholds is not None:
        raise click.UsageError("Pass --threshold or --thresholds, not both.")
    named, at = concept is not None or concepts is not None, threshold is not None or thresholds is not None
    if named and not at:
        raise click.UsageError("A comparison needs --threshold or --thresholds: for example --threshold 0.27.")
    if not named and (at or template is not None):
        raise click.UsageError("Without CONCEPT or --concepts, a saved count says what is compared: name some, too.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")


def _read_rows(path: str) -> np.ndarray:
    import numpy as np

    from tailwag.errors import BadInput, NotFound

    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise NotFound(f"there is no file of rows {path}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not an array that numpy saved ({error}): pass a .npy file") from error
    if rows.dtype != np.bool_ or rows.ndim != 1:
        raise BadInput(f"{path} holds {rows.dtype} of shape {rows.shape}: one boolean a row of the corpus is needed")
    return rows
