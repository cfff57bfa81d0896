"""The commands that look after a corpus: `tailwag compact`, `tailwag tag`. They parse, call and print."""

from __future__ import annotations

import click

from tailwag.options import database_option, json_option


@click.command()
@click.argument("corpus")
@database_option
@click.option(
    "--target-rows", type=click.IntRange(1), default=1_000_000, show_default=True, help="Rows a fragment should have."
)
@click.option("--most-gb", type=click.FloatRange(0, min_open=True), default=None, help="Rewrite at most so much now.")
@click.option("--drop-old-versions", is_flag=True, help="Delete versions without a tag, but the newest.")
@json_option
def compact(
    corpus: str,
    database: str,
    target_rows: int,
    most_gb: float | None,
    drop_old_versions: bool,
    as_json: bool,
) -> None:
    """Put the small fragments of CORPUS together, so that reading it takes less time.

    Counts stay as they are; the corpus comes to a new version, and rows that are put together may come to lie behind
    others. It commits as it goes, so that a command that was stopped goes on where it was. The replaced fragments stay
    on the disk, for the versions that have them, until --drop-old-versions deletes versions: those without a tag
    (`tailwag tag`) but the newest.

    \b
    Example:
      tailwag compact cc3m
      tailwag compact laion400m --most-gb 50
      tailwag compact cc3m --drop-old-versions
    """
    import json
    from dataclasses import asdict

    from tailwag.progress import progress

    from .compaction import compact as compact_corpus
    from .corpus import Corpus

    opened = Corpus.open(database, corpus)
    with progress(f"compacting {corpus}", len(opened.fragments()), "fragments") as bar:
        done = compact_corpus(
            opened,
            target_rows=target_rows,
            most_bytes=None if most_gb is None else int(most_gb * 1e9),
            drop_old_versions=drop_old_versions,
            progress=bar,
        )
    if as_json:
        click.echo(json.dumps({"corpus": corpus, "corpus_version": opened.version, **asdict(done)}))
        return
    click.echo(
        f"{corpus!r} has {done.fragments:,} fragments now, {done.fragments_before:,} before; "
        f"{done.bytes_rewritten / 1e6:,.1f} MB were rewritten, {done.bytes_removed / 1e6:,.1f} MB removed; "
        f"version {opened.version}"
    )
    if not done.is_complete:
        click.echo("there is more to put together: give the command again", err=True)


@click.command()
@click.argument("corpus")
@click.argument("name")
@database_option
@click.option("--version", "version", type=int, default=None, help="Of the corpus.  [default: the newest]")
@click.option("--delete", is_flag=True, help="Take the name away.")
def tag(corpus: str, name: str, database: str, version: int | None, delete: bool) -> None:
    """Call a version of CORPUS by NAME, so that it is kept and can be asked for with --version NAME.

    \b
    Example:
      tailwag tag cc3m as-published
      tailwag count cc3m "red panda" --threshold 0.27 --version as-published
    """
    from .corpus import Corpus

    opened = Corpus.open(database, corpus, version)
    if delete:
        opened.untag(name)
        click.echo(f"no version of {corpus!r} is called {name!r} any more")
    else:
        opened.tag(name)
        click.echo(f"version {opened.version} of {corpus!r} is {name!r}")
