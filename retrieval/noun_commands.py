"""The command `tailwag nouns`: parse, call the library, print.

Not here: which words are nouns (`captions/nouns.py`). Only click is imported at the top.
"""

from __future__ import annotations

import click

from tailwag.options import database_option, json_option, version_option


@click.command()
@click.argument("corpus")
@click.option(
    "--at-least",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="IMAGES",
    help="Only nouns in the captions of at least so many images.",
)
@click.option("--out", "path", metavar="FILE", help="Write them as a concept set: .toml, or .txt with one a line.")
@database_option
@version_option
@json_option
def nouns(corpus: str, at_least: int, path: str | None, database: str, version: str | None, as_json: bool) -> None:
    """List the nouns in the captions of CORPUS, to be counted as concepts elsewhere.

    Retrieval test sets have no classes; what they ask for is what their captions name. The nouns of English captions
    are found by a part-of-speech tagger and listed by their lemmas, those in the most images first.

    \b
    Example:
      tailwag nouns coco --at-least 10
      tailwag nouns coco --at-least 10 --out coco-nouns.toml
      tailwag count cc3m --concepts coco-nouns.toml --threshold 0.27
    """
    from dataclasses import asdict
    from pathlib import Path

    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from .captions.nouns import corpus_nouns
    from .concept_file import format_concepts
    from .result_tables import check_folder, print_json, print_table, replaced_when_done

    kind = None if path is None else Path(path).suffix
    if kind not in (None, ".toml", ".txt"):
        raise click.UsageError(f"--out writes .toml or .txt, not {kind or 'a file without an ending'}.")
    check_folder(path)
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    with progress("reading captions", total=len(opened)) as bar:
        found = corpus_nouns(opened, at_least, bar)
    if path is not None:
        concepts = found.concepts()
        text = format_concepts(concepts) if kind == ".toml" else "".join(f"{name}\n" for name in concepts.names)
        with replaced_when_done(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    if as_json:
        print_json(asdict(found))
        return
    if path is None and found.nouns:
        rows = [[one.noun, f"{one.images:,}", f"{one.captions:,}"] for one in found.nouns]
        print_table(["noun", "images", "captions"], rows)
    click.echo(f"{found} Written to {path}." if path is not None else str(found))
