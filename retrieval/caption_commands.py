"""The command `tailwag captions`: parse, call the library, print.

Not here: what is counted (`captions/`), captions beside images (`joint_commands.py`). Only click is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, json_option, version_option

from .concept_options import concepts_option, open_concepts

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from .captions import CaptionCounts
    from .concepts import ConceptSet

_SHOWN = 3
_LONGEST_SHOWN = 160
_NO_FREQUENCY = "Captions that name a concept need not show it, and most that show it do not name it."


@click.command()
@click.argument("corpus")
@click.argument("named", metavar="[CONCEPT]...", nargs=-1)
@concepts_option
@click.option("--like-paper", is_flag=True, help="Count also as the frequency paper's search does, faults and all.")
@click.option("--where", metavar="CONDITION", help='Only the rows that fulfil this, in SQL: "width >= 256".')
@click.option(
    "--show",
    type=click.IntRange(0),
    metavar="NUMBER",
    help=f"Captions shown of each concept.  [default: {_SHOWN}, with --concepts none]",
)
@click.option(
    "--save",
    type=click.Choice(["words", "phrase"]),
    is_flag=False,
    flag_value="words",
    help="Keep the counts of this rule in the table of frequencies.  [default, when given alone: words]",
)
@database_option
@version_option
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the counts as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="PATH", help="Write the counts as parquet.")
def captions(
    corpus: str,
    named: tuple[str, ...],
    concepts: str | None,
    like_paper: bool,
    where: str | None,
    show: int | None,
    save: Any,
    database: str,
    version: str | None,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Count the captions of CORPUS that name each CONCEPT, in one pass.

    Two counts are made: of captions that hold the name as a phrase, and of those that hold all words of the name, in
    any form and anywhere. A concept's synonyms count as well, each caption once.

    \b
    Example:
      tailwag captions cc3m "red panda" T-shirt
      tailwag captions cc3m --concepts caltech101 --csv counts.csv
      tailwag captions cc3m --concepts names.txt --like-paper --parquet counts.parquet
      tailwag captions cc3m --concepts caltech101 --save
    """
    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from .captions import count_captions
    from .counting.controls import where as control_where
    from .result_tables import check_folder, print_json, write_csv, write_parquet

    if bool(named) == (concepts is not None):
        raise click.UsageError("Name what to count: one CONCEPT or more, or --concepts; one of the two.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")
    for path in (csv_path, parquet_path):
        check_folder(path)
    wanted = _wanted(named, concepts)
    shown = show if show is not None else _SHOWN if named else 0
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    with progress("reading captions", total=len(opened)) as bar:
        found = count_captions(
            opened,
            wanted,
            like_paper=like_paper,
            keep="words" if shown else None,
            control=control_where(where) if where is not None else None,
            progress=bar,
        )
    examples = _examples(opened, found, shown) if shown else [[] for _ in wanted]
    run = _save(opened, found, save) if save is not None else None
    for path, write in ((csv_path, write_csv), (parquet_path, write_parquet)):
        if path is not None:
            write(found, path)
            if path != "-":
                click.echo(f"wrote {len(found):,} counts to {path}", err=True)
    if as_json:
        print_json({**captions_as_dict(found, examples), **({"run": run} if run else {})})
    elif csv_path is None and parquet_path is None:
        _print(found, examples, by_sentence=bool(named))
    if run is not None:
        click.echo(f"saved {len(found):,} counts by {save} as run {run}", err=True)


def captions_as_dict(found: CaptionCounts, examples: list[list[tuple[str, str]]]) -> dict[str, Any]:
    """Give the counts as what JSON can hold: what was counted once, then one entry a concept."""
    return {
        "corpus": found.corpus,
        "corpus_version": found.corpus_version,
        "control": found.control,
        "rows": found.rows,
        "empty_captions": found.empty_captions,
        "seconds": round(found.seconds, 6),
        "counts": [
            {
                "concept": one.concept,
                "phrase": one.phrase,
                "words": one.words,
                **({} if one.paper is None else {"paper": one.paper}),
                **({"examples": [{"key": key, "caption": text} for key, text in own]} if own else {}),
            }
            for one, own in zip(found, examples, strict=True)
        ],
    }


def _wanted(named: tuple[str, ...], concepts: str | None) -> ConceptSet:
    from .concepts import Concept, ConceptSet

    if concepts is not None:
        return open_concepts(concepts)
    return ConceptSet("query", tuple(Concept(" ".join(name.split())) for name in named))


def _examples(corpus: Corpus, found: CaptionCounts, shown: int) -> list[list[tuple[str, str]]]:
    """Take captions that name each concept by its words, evenly spread over the corpus; keys and captions."""
    import numpy as np

    mentions = found.mentions
    assert mentions is not None
    chosen: list[np.ndarray] = []
    for concept in range(len(found)):
        rows = mentions.offsets[mentions.concepts == concept]
        chosen.append(rows[np.linspace(0, len(rows) - 1, min(shown, len(rows))).astype(np.int64)])
    taken = corpus.take_offsets(np.concatenate(chosen), ["key", "caption"]).to_pylist()
    rest = iter([(row["key"], row["caption"]) for row in taken])
    return [[next(rest) for _ in rows] for rows in chosen]


def _save(corpus: Corpus, found: CaptionCounts, rule: Any) -> str:
    from .captions.saved import save_caption_counts

    return save_caption_counts(corpus, found, rule).name


def _print(found: CaptionCounts, examples: list[list[tuple[str, str]]], *, by_sentence: bool) -> None:
    from .result_tables import print_table

    if by_sentence:
        for one, own in zip(found, examples, strict=True):
            click.echo(str(one))
            for _, caption in own:
                click.echo(f"  {_one_line(caption)}")
    else:
        click.echo(str(found))
        headings = ["concept", "phrase", "words", *(["like the paper"] if found.paper is not None else [])]
        rows = [
            [one.concept, f"{one.phrase:,}", f"{one.words:,}", *([] if one.paper is None else [f"{one.paper:,}"])]
            for one in found
        ]
        print_table(headings, rows)
        for one, own in zip(found, examples, strict=True):
            for _, caption in own:
                click.echo(f"{one.concept}: {_one_line(caption)}")
    click.echo(_NO_FREQUENCY)


def _one_line(caption: str) -> str:
    """Make a caption safe to print: one line, nothing that a terminal obeys, not too long."""
    text = "".join(character if character.isprintable() else " " for character in caption)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
