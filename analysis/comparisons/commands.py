"""The command `tailwag compare`: parses, reads, compares, prints. Only click is imported at the top.

Not here: any statistics (`study.py` and what it calls), files (`files.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, json_option

if TYPE_CHECKING:
    from ..inputs.points import Frequencies
    from .study import Study


@click.command()
@click.option(
    "--counts", "files", multiple=True, metavar="[NAME=]FILE", help="Counts of a pretraining set; once for each."
)
@click.option("--corpus", "corpora", multiple=True, metavar="NAME", help="A corpus with counts that --save kept.")
@click.option("--paper", metavar="DIR", help="The released counts of the paper, all sets or those of --pretraining.")
@click.option(
    "--pretraining", "pretrainings", multiple=True, metavar="NAME", help="Of --paper; several times for more."
)
@click.option(
    "--side",
    type=click.Choice(["image", "caption", "joint", "text"]),
    help="What was counted.  [default: what there is; of --paper joint]",
)
@click.option("--threshold", type=float, help="Where several were counted.  [default of --paper: 0.7]")
@click.option(
    "--tail",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="The rarest share of the concepts, for the overlap of tails.",
)
@click.option(
    "--as-spelt", is_flag=True, help="Every spelling is a concept of its own, as in the paper's correlations."
)
@click.option(
    "--power-law",
    "replicates",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Fit a power law to each tail and test it with N samples, such as 100.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of those samples.")
@click.option("--csv", "csv_path", metavar="FILE", help="Write the pairs as CSV; - for standard output.")
@click.option("--out", metavar="DIR", help="Write figures, and every number as CSV, into this folder.")
@database_option
@json_option
def compare(
    files: tuple[str, ...],
    corpora: tuple[str, ...],
    paper: str | None,
    pretrainings: tuple[str, ...],
    side: str | None,
    threshold: float | None,
    tail: float,
    as_spelt: bool,
    replicates: int,
    seed: int,
    csv_path: str | None,
    out: str | None,
    database: str,
    as_json: bool,
) -> None:
    """Compare how often pretraining sets show the same concepts: agreement, rare concepts, long tails.

    Concepts meet by name; one that lacks a count in any of the sets is left out and listed.

    \b
    Example:
      tailwag compare --counts cc3m.csv --counts cc12m.csv
      tailwag compare --corpus cc3m --corpus cc12m --out comparison
      tailwag compare --paper frequency_determines_performance --side joint --power-law 100
    """
    if (paper is None) == (not files and not corpora):
        raise click.UsageError("Name what to compare: --counts and --corpus, or --paper.")
    if pretrainings and paper is None:
        raise click.UsageError("--pretraining goes with --paper.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")

    from ...retrieval.result_tables import check_folder as check_folder_of
    from .files import check_folder, write_files
    from .study import run_study

    check_folder_of(csv_path)
    if out is not None:
        check_folder(out)
    if paper is not None:
        frequencies = _of_release(paper, pretrainings, side or "joint", 0.7 if threshold is None else threshold)
    else:
        frequencies = _of_files(files, corpora, database, side, threshold)
    study = _run(run_study, frequencies, _one_side(frequencies, side), tail, as_spelt, replicates, seed)
    if csv_path is not None:
        _write_pairs(study, csv_path)
    written = write_files(study, out) if out is not None else []
    if as_json:
        from ...retrieval.result_tables import print_json

        print_json({**study.as_dict(), "files": [str(path) for path in written]})
    elif csv_path != "-":
        _print(study)
        if out is not None:
            click.echo(f"{len(written)} files written to {out}")


def _of_release(folder: str, pretrainings: tuple[str, ...], side: str, threshold: float) -> Frequencies:
    import pandas as pd

    from ..inputs import Frequencies, Release

    release = Release(folder)
    # SynthCI-30M and LAION-200M were made for single questions and lack most sides: they are compared when named.
    sets = pretrainings or tuple(name for name in _MAIN_SETS if name in release.pretrainings())
    found = [release.frequencies(name, side, threshold) for name in sets]
    if not found:
        raise click.UsageError(f"Name pretraining sets with --pretraining: {', '.join(release.pretrainings())}.")
    exclusions = tuple(exclusion for each in found for exclusion in each.exclusions)
    return Frequencies(pd.concat([each.table for each in found], ignore_index=True), exclusions)


def _of_files(
    files: tuple[str, ...], corpora: tuple[str, ...], uri: str, side: str | None, threshold: float | None
) -> Frequencies:
    from pathlib import Path

    import pandas as pd

    from tailwag.errors import BadInput

    from ...embed.database import Database
    from ..inputs import Choice, Frequencies, read_frequencies, saved_frequencies

    found = []
    for file in files:
        name, equals, path = file.partition("=")
        if Path(file).exists() or not equals:
            name, path = "", file
        read = read_frequencies(path, choice=Choice(pretraining=name or None, side=side, threshold=threshold))
        table = read.table.assign(pretraining=read.table["pretraining"].replace("", Path(path).stem))
        found.append(Frequencies(table, read.exclusions))
    for corpus in corpora:
        found.append(saved_frequencies(Database(uri), corpus, choice=Choice(side=side, threshold=threshold)))
    names = [name for each in found for name in each.table["pretraining"].drop_duplicates()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"two inputs are called {twice!r}: name one of them, as in --counts newer=counts.csv")
    exclusions = tuple(exclusion for each in found for exclusion in each.exclusions)
    return Frequencies(pd.concat([each.table for each in found], ignore_index=True), exclusions)


def _one_side(frequencies: Frequencies, side: str | None) -> str:
    """Tell the side that is compared: the one asked for, or the only one there is."""
    from tailwag.errors import BadInput

    if side is not None:
        return side
    there = list(dict.fromkeys(frequencies.table["side"]))
    if len(there) > 1:
        raise BadInput(f"there are counts of the sides {', '.join(there)}: choose one with --side")
    return there[0]


def _run(
    run: Any, frequencies: Frequencies, side: str, tail: float, as_spelt: bool, replicates: int, seed: int
) -> Study:
    from tailwag.progress import progress

    sets = len(set(frequencies.table["pretraining"]))
    settings = {"tail_share": tail, "as_spelt": as_spelt, "replicates": replicates, "seed": seed}
    with progress("testing power laws", total=replicates * sets, unit="samples") as bar:
        return run(frequencies, side, progress=bar, **settings)


def _print(study: Study) -> None:
    from collections import Counter

    from ...retrieval.result_tables import print_table

    compared = study.compared
    click.echo(f"{compared.side} frequency of {len(compared.concepts):,} concepts that all have a count for")
    rows = []
    for tail in study.tails:
        shape = tail.shape
        rare = "–" if shape.rare != shape.rare else f"{100 * shape.rare_share:.1f} %"
        cells = [tail.pretraining, "–" if shape.rows != shape.rows else f"{shape.rows:,.0f}", f"{shape.zeros:,}"]
        rows.append([*cells, f"{shape.median:,.0f}", rare, f"{100 * shape.top_share:.1f} %", f"{shape.gini:.3f}"])
    print_table(["", "pairs", "at zero", "median", "under 1e-4", "held by top 5 %", "Gini"], rows)
    click.echo("")
    rows = [
        [
            f"{pair.first} – {pair.second}",
            str(pair.spearman),
            f"{pair.pearson.value:.3f}",
            str(pair.pearson_log),
            f"{pair.overlap.first:,}, {pair.overlap.second:,}",
            f"{pair.overlap.jaccard:.3f} ({pair.overlap.expected:.3f})",
        ]
        for pair in compared.pairs
    ]
    print_table(["", "Spearman's ρ", "r", "r of logs, both above 0", "rarest", "in common (by chance)"], rows)
    for tail in study.tails:
        if tail.law is not None:
            click.echo(f"{tail.pretraining}: {tail.law}")
    for note in study.notes:
        click.echo(note)
    for reason, number in Counter(exclusion.reason for exclusion in study.exclusions).items():
        click.echo(f"{reason}: {number:,}")


def _write_pairs(study: Study, path: str) -> None:
    import sys
    from pathlib import Path

    from .files import PAIR_HEADINGS, pair_rows, write_rows, write_table

    if path == "-":
        write_rows(sys.stdout, pair_rows(study), PAIR_HEADINGS)
    else:
        write_table(Path(path), pair_rows(study), PAIR_HEADINGS)


_MAIN_SETS = ("cc3m", "cc12m", "yfcc15m", "laion400m")
