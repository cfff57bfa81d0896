"""What is told of saved results: counts from histograms, verdicts, comparisons; as sentences, tables and JSON.

Not here: the results themselves; plain counts (`retrieval/result_tables.py`).
"""

from __future__ import annotations

from typing import Any

import click

from ..counting.result import format_share, format_threshold
from ..result_tables import print_table
from ..thresholds import telling_rungs
from .certificate import Certificate
from .comparison import Comparison
from .rethreshold import Bracket, Rethresholded, share
from .verification import Verdict

_NOUNS = {"image": "images", "text": "captions"}


def rethresholded_as_dict(answer: Rethresholded) -> dict[str, Any]:
    """Give counts from histograms as what JSON can hold, in the form of a plain count."""
    return {
        "corpus": answer.corpus,
        "corpus_version": answer.corpus_version,
        "newest_version": answer.newest_version,
        "stale": answer.stale,
        "space": {"title": answer.space.title, "fingerprint": answer.space.fingerprint},
        "side": answer.side,
        "control": answer.control,
        "rows": answer.rows,
        "failures": answer.failures,
        "exact": answer.between_edges == 0,
        "runs": sorted(set(answer.runs)),
        "other_recipes": list(answer.other_recipes),
        "counts": [
            {
                "concept": one.concept,
                "recipe": one.recipe,
                "threshold": one.threshold,
                "threshold_source": one.threshold_source,
                "count": one.count,
                "share": share(one.count, answer.rows),
                "lower": one.lower,
                "upper": one.upper,
            }
            for one in answer
        ],
    }


def print_rethresholded(answer: Rethresholded, ladder: bool) -> None:
    """Print counts from histograms in the form of plain counts; a range where a count is not known."""
    entries = list(answer)
    runs = sorted(set(answer.runs))
    by = f"the histograms of run {runs[-1]}" + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
    failed = f"; {answer.failures:,} more samples could not be embedded" if answer.failures else ""
    where = f"corpus '{answer.corpus}' (version {answer.corpus_version}, {answer.space.title})"
    among = f" with {answer.control}" if answer.control else ""
    noun = _NOUNS[answer.side]
    if len(entries) == 1:
        (one,) = entries
        click.echo(
            f"{_count_cell(one)} of {answer.rows:,} {noun}{among} ({_share_cell(one, answer.rows)}) have a similarity "
            f'of at least {format_threshold(one.threshold)} to "{one.concept}" in {where}, by {by}{failed}.'
        )
    else:
        click.echo(f"{where}: {answer.rows:,} {noun}{among}, counted by {by}{failed}")
        print_table(*_cells(answer, entries, ladder), words=() if ladder else (0,))
    if answer.between_edges:
        click.echo(
            f"{answer.between_edges:,} of {len(entries):,} counts are only known to lie in the range given, both ends "
            "included: their thresholds lie between two edges of the histograms. Thresholds of at most three decimals "
            "are edges."
        )


def report_rethresholded(answer: Rethresholded) -> None:
    """Say on stderr what the answer does not hold for."""
    if answer.stale:
        gone = ", which has been cleaned up" if answer.gone else ""
        click.echo(
            f"tailwag: these counts hold for version {answer.corpus_version} of corpus {answer.corpus!r}{gone}; its "
            f"newest is {answer.newest_version}: count again with --save --since {answer.runs[0]}",
            err=True,
        )
    if answer.other_recipes:
        recipes = dict(zip(answer.concepts, answer.recipes, strict=True))
        first = answer.other_recipes[0]
        more = f" (and {len(answer.other_recipes) - 1:,} more)" if len(answer.other_recipes) > 1 else ""
        click.echo(
            f"tailwag: no prototype of {first!r} as asked for is saved{more}; the only saved one answers, by "
            f"{recipes[first]}",
            err=True,
        )


def verdict_as_dict(verdict: Verdict) -> dict[str, Any]:
    """Give a verdict as what JSON can hold."""
    return {
        "accepted": True,
        "run": verdict.run,
        "seal": verdict.seal,
        "corpus": verdict.corpus,
        "corpus_version": verdict.corpus_version,
        "newest_version": verdict.newest_version,
        "rows": verdict.rows,
        "parts": verdict.parts,
        "parts_recounted": list(verdict.recounted),
        "rows_recounted": verdict.rows_recounted,
        "seed": verdict.seed,
        "histograms_recounted": verdict.histograms,
        "saved_tables_compared": verdict.saved,
        "chance_one_wrong_part_unnoticed": verdict.chance_unnoticed,
    }


def print_verdict(verdict: Verdict) -> None:
    """Say that a certificate is accepted, and what that rests on."""
    seed = f", chosen with seed {verdict.seed}," if verdict.seed is not None else ""
    parts = "part" if verdict.parts == 1 else "parts"
    tables = ", its rows in the tables of results agree with it" if verdict.saved else ""
    click.echo(f"accepted: run {verdict.run}, corpus '{verdict.corpus}' version {verdict.corpus_version}")
    click.echo(
        f"Its totals are the sums of its parts, its parts are all fragments of that version{tables}, and "
        f"{len(verdict.recounted):,} of {verdict.parts:,} {parts}{seed} came out the same: {verdict.rows_recounted:,} "
        f"of {verdict.rows:,} rows ({format_share(verdict.share_recounted)}) were counted again"
        + (", and the histograms." if verdict.histograms else ".")
    )
    if verdict.chance_unnoticed:
        click.echo(
            f"A single wrong part had a chance of {format_share(verdict.chance_unnoticed)} to go unnoticed; --all "
            "leaves none."
        )
    if verdict.newest_version > verdict.corpus_version:
        click.echo(f"The corpus has a newer version, {verdict.newest_version}.")
    click.echo(f"seal {verdict.seal}")


def comparison_as_dict(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as what JSON can hold."""
    return {
        "first": _side_as_dict(comparison.first),
        "second": _side_as_dict(comparison.second),
        "space": {
            "title": comparison.first.space.title,
            "fingerprint": comparison.first.space.fingerprint,
        },
        "rows_read": comparison.rows_read,
        "concepts_only_first": list(comparison.only_first),
        "concepts_only_second": list(comparison.only_second),
        "counts": [
            {
                "concept": one.concept,
                "threshold": one.threshold,
                "first_count": one.first_count,
                "second_count": one.second_count,
                "difference": one.difference,
                "first_share": one.first_share,
                "second_share": one.second_share,
                "ratio": one.ratio,
            }
            for one in comparison
        ],
    }


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison: what the two are, then one line a concept and threshold."""
    for which, one in (("first ", comparison.first), ("second", comparison.second)):
        among = f" with {one.control_name}" if one.control_name else ""
        click.echo(
            f"{which}  corpus '{one.corpus}' (version {one.corpus_version}, {one.space.title}): {one.rows:,} "
            f"{_NOUNS[one.side]}{among}"
        )
    print_table(
        ["concept", "threshold", "first", "second", "difference", "first share", "second share", "ratio"],
        [
            [
                one.concept,
                format_threshold(one.threshold),
                f"{one.first_count:,}",
                f"{one.second_count:,}",
                f"{one.difference:+,}" if one.difference else "0",
                format_share(one.first_share),
                format_share(one.second_share),
                "–" if one.ratio is None else f"{one.ratio:.3g}",
            ]
            for one in comparison
        ],
    )
    click.echo("ratio: second share over first; 1 where a concept kept pace with the rows. Counts, not frequencies.")


def report_comparison(comparison: Comparison) -> None:
    """Say on stderr which concepts only one of the two counted."""
    for which, names in (("first", comparison.only_first), ("second", comparison.only_second)):
        if names:
            more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
            click.echo(f"tailwag: only the {which} counted ({len(names):,}): {', '.join(names[:5])}{more}", err=True)


def _side_as_dict(one: Certificate) -> dict[str, Any]:
    return {
        "corpus": one.corpus,
        "corpus_version": one.corpus_version,
        "side": one.side,
        "control": one.control_name,
        "rows": one.rows,
        "failures": one.failures,
    }


def _cells(answer: Rethresholded, entries: list[Bracket], ladder: bool) -> tuple[list[str], list[list[str]]]:
    """Lay counts out as `result_tables.count_cells` does."""
    width = answer.lower.shape[1]
    shared = bool((answer.thresholds == answer.thresholds[:1]).all())
    if shared and width > 1 and len(answer.concepts) > 1:
        headings = ["concept", *(f"≥ {format_threshold(float(one))}" for one in answer.thresholds[0])]
        lines = [entries[start : start + width] for start in range(0, len(entries), width)]
        return headings, [[line[0].concept, *map(_count_cell, line)] for line in lines]
    if ladder:
        entries = [entries[rung] for rung in telling_rungs(answer.lower[0], answer.rows)]
    rows = [
        [one.concept, format_threshold(one.threshold), _count_cell(one), _share_cell(one, answer.rows)]
        for one in entries
    ]
    headings = ["concept", "threshold", "count", "share"]
    return (headings[1:], [row[1:] for row in rows]) if ladder else (headings, rows)


def _count_cell(one: Bracket) -> str:
    return f"{one.count:,}" if one.count is not None else f"{one.lower:,}–{one.upper:,}"


def _share_cell(one: Bracket, rows: int) -> str:
    ends = [format_share(share(end, rows) or 0.0) for end in (one.lower, one.upper)]
    return ends[0] if one.count is not None else f"{ends[0]}–{ends[1]}"
