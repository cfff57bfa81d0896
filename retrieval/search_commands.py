"""The commands `tailwag search` and `tailwag index`: parse, call the library, print.

Only click is imported at the top, so that help answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from .centring_option import CentringWish, centre_option, prototypes_as_wished, wish_for_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..embed.corpus import Corpus
    from .centring_choice import Centre
    from .index import Index
    from .index_manifest import IndexDescription, Manifest
    from .index_plan import IndexPlan
    from .prototypes import PrototypeSet
    from .search import SearchResult

_SIDES = click.Choice(["image", "text"])
# What a table needs beside the caption, and what a caption gets when there is no terminal to be cut for.
_NARROW_COLUMNS = 28
_PIPE_CAPTION = 80


@click.command()
@click.argument("corpus")
@click.argument("query", required=False)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE",
    help="An example picture as the query; several times: the mean of them.",
)
@click.option("-k", "k", type=click.IntRange(1), default=20, show_default=True, help="How many rows.")
@click.option("--html", "html_path", metavar="PATH", help="Write one page with the pictures in it.")
@click.option("--exact", is_flag=True, help="Compare every row, also where there is an index.")
@centre_option("no")
@click.option("--side", type=_SIDES, default="image", show_default=True, help="Vectors compared.")
@click.option(
    "--nprobe", type=click.IntRange(1), default=None, help="Lists of the index looked into.  [default: as it was built]"
)
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the rows as CSV; - is standard output.")
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
def search(
    corpus: str,
    query: str | None,
    images: tuple[str, ...],
    k: int,
    html_path: str | None,
    exact: bool,
    centre: Centre,
    side: Any,
    nprobe: int | None,
    as_json: bool,
    csv_path: str | None,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
) -> None:
    """Show the rows of CORPUS that are the most similar to QUERY, a text, or to a picture.

    The text is embedded as it is, without a template. An index is used where there is a current one (`tailwag index
    build`), and the answer says so; else every row is compared.

    \b
    Example:
      tailwag search cc3m "two dogs in snow"
      tailwag search cc3m "two dogs in snow" -k 100 --html dogs.html
      tailwag search cc3m --image example.jpg --exact
      tailwag search cc3m "two dogs in snow" --centre auto
    """
    from ..embed.corpus import Corpus
    from .result_tables import check_folder
    from .search import search as search_corpus

    if (query is None) == (not images):
        raise click.UsageError("Say what to search for: a QUERY, or --image; one of the two.")
    if query is not None and not query.strip():
        raise click.UsageError("QUERY is empty.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: pass one of them.")
    if exact and nprobe is not None:
        raise click.UsageError("--nprobe is for an index, and --exact uses none: pass one of them.")
    wish = wish_for_pictures(CentringWish(centre)) if images else CentringWish(centre)
    for path in (html_path, csv_path):
        check_folder(path)  # now, not after the search
    opened = Corpus.open(database, corpus, _as_version(version))
    index = None if exact else _index_to_use(opened, side, device)
    prototypes, examples = _make_query(opened, query, images, (model, pretrained, device), wish, side)
    from tailwag.progress import progress

    with progress("comparing", total=None if index else len(opened)) as bar:
        result = search_corpus(opened, prototypes, k, side, index, nprobe=nprobe, progress=bar)
    _write_files(opened, result, html_path, csv_path, examples)
    if as_json:
        from .result_tables import print_json

        print_json(result.to_dict())
    elif csv_path != "-":
        _print_hits(result)


@click.group()
def index() -> None:
    """Build and list the FAISS indices that make `tailwag search` quick on large corpora.

    \b
    Example:
      tailwag index build cc3m
      tailwag index list cc3m
    """


@index.command("build")
@click.argument("corpus")
@click.option("--side", type=_SIDES, default="image", show_default=True, help="Vectors indexed.")
@click.option(
    "--kind",
    type=click.Choice(["flat", "ivf-flat", "ivf-pq"]),
    default=None,
    help="Kind of index.  [default: by the number of rows]",
)
@click.option("--device", default=None, help="Where it is built: cpu, cuda, cuda:1.  [default: cuda where found]")
@database_option
@version_option
@json_option
def build(
    corpus: str, side: Any, kind: Any, device: str | None, database: str, version: str | None, as_json: bool
) -> None:
    """Build the index of one side of CORPUS and save it beside the table, in place of an older one.

    It holds for the corpus's version: after rows were added, build it again. Until it is done the older one stays.

    \b
    Example:
      tailwag index build cc3m
      tailwag index build cc3m --side text --kind ivf-flat
    """
    import time

    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from .index import build_index, index_folder, plan_index

    opened = Corpus.open(database, corpus, _as_version(version))
    folder = index_folder(opened, side)
    plan = plan_index(len(opened), opened.space.dimension, kind)
    click.echo(_describe_plan(plan, side), err=True)
    start = time.perf_counter()
    with progress(f"indexing {corpus}", plan.rows_read) as bar:
        manifest = build_index(opened, side, kind, bar, device)
    seconds = time.perf_counter() - start
    if as_json:
        import json

        from .result_tables import print_json

        print_json({**json.loads(manifest.to_json()), "folder": str(folder), "seconds": round(seconds, 3)})
        return
    click.echo(_describe_built(manifest, corpus, seconds))
    click.echo(f"written to {folder}")


@index.command("list")
@click.argument("corpus")
@database_option
@version_option
@json_option
def list_indices(corpus: str, database: str, version: str | None, as_json: bool) -> None:
    """List the indices of CORPUS, and say of each whether a search would use it.

    \b
    Example:
      tailwag index list cc3m
    """
    from dataclasses import asdict

    from ..embed.corpus import Corpus
    from .index import describe_indices, index_folder
    from .result_tables import print_json, print_table

    opened = Corpus.open(database, corpus, _as_version(version))
    index_folder(opened, "image")  # an object store, which can have none, is an error here
    found = describe_indices(opened)
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        print_table(
            ["side", "kind", "rows", "version", "size", "recall", "built", "state"],
            [_index_cells(one) for one in found],
            words=(0, 1, 6, 7),
        )
    else:
        click.echo(f"corpus {corpus!r} has no index: build one with `tailwag index build {corpus}`")


def _index_to_use(corpus: Corpus, side: Any, device: str | None) -> Index | None:
    """Open the index where there is one; a stale or damaged one is an error, not a reason to be slow in silence."""
    from .index_manifest import has_index

    if not has_index(corpus, side):
        return None
    from .index import open_index

    return open_index(corpus, side, device)


def _make_query(
    corpus: Corpus,
    query: str | None,
    images: tuple[str, ...],
    how: tuple[str | None, str | None, str | None],
    wish: CentringWish,
    side: Any,
) -> tuple[PrototypeSet, list[Image]]:
    """Embed the text as it is, or the example pictures; also give the pictures, to show."""
    from .prototypes import PrototypeSet, read_picture

    pictures = [read_picture(path) for path in images]  # before the model, which takes seconds to load
    from ..embed.encoder import Encoder

    model, pretrained, device = how
    encoder = Encoder.for_space(corpus.space, model, pretrained, device)
    if query is not None:
        vectors = encoder.encode_texts([query])
        made = PrototypeSet((query,), vectors, encoder.space, (f'text "{query}"',))
    else:
        made = PrototypeSet.of_images(", ".join(images), pictures, encoder)
    return prototypes_as_wished(made, wish, corpus, encoder, side), pictures


def _write_files(
    corpus: Corpus, result: SearchResult, html_path: str | None, csv_path: str | None, examples: list[Image]
) -> None:
    from .result_tables import write_csv

    if csv_path is not None:
        write_csv(result, csv_path)
    if html_path is None:
        return
    from .search_page import write_search_page

    missing = write_search_page(corpus, result, html_path, examples)
    shown = sum(len(found.hits) for found in result.queries)
    lost = f"; {missing:,} of the {shown:,} pictures could not be shown, the page says why" if missing else ""
    # Standard output may be JSON or CSV.
    click.echo(f"page written to {html_path}{lost}", err=True)


def _print_hits(result: SearchResult) -> None:
    from .result_tables import print_table

    noun = "images" if result.side == "image" else "captions"
    for found in result.queries:
        click.echo(
            f"{len(found.hits):,} nearest of {result.rows:,} {noun} to {found.query!r} in {result.corpus!r} "
            f"(version {result.version}), {result.method}"
        )
        labelled = any(hit.label is not None for hit in found.hits)
        width = _caption_width(max((len(hit.key) for hit in found.hits), default=0), labelled)
        print_table(
            ["rank", "similarity", "key", *(["label"] if labelled else []), "caption"],
            [
                [
                    str(hit.rank),
                    f"{hit.similarity:.4f}",
                    _one_line(hit.key),
                    *([_one_line(hit.label or "")] if labelled else []),
                    _cut(hit.caption, width),
                ]
                for hit in found.hits
            ],
            words=(2, 3, 4),
        )


def _caption_width(longest_key: int, labelled: bool) -> int:
    import shutil
    import sys

    if not sys.stdout.isatty():
        return _PIPE_CAPTION
    left = shutil.get_terminal_size().columns - _NARROW_COLUMNS - longest_key - (16 if labelled else 0)
    return max(20, left)


def _cut(text: str, width: int) -> str:
    line = _one_line(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def _one_line(text: str) -> str:
    """Put untrusted text on one line without control characters, which a terminal would obey."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _describe_plan(plan: IndexPlan, side: str) -> str:
    lines = [f"index    {plan.title} over {plan.rows:,} {side} vectors of {plan.dimension}"]
    if plan.nlist:
        lines.append(
            f"lists    {plan.nlist:,}, a search looks into {plan.nprobe:,}; {plan.training_rows:,} training rows"
        )
    if plan.pq_m:
        lines.append(f"codes    {plan.pq_m} bytes a vector")
    lines.append(f"size     {_bytes(plan.bytes)}, building takes {_bytes(plan.peak_bytes)} of memory")
    return "\n".join(lines)


def _describe_built(manifest: Manifest, corpus: str, seconds: float) -> str:
    return (
        f"{manifest.plan.title} index of {manifest.plan.rows:,} {manifest.side} vectors of {corpus!r} "
        f"(version {manifest.version}): {_bytes(manifest.bytes)}, {seconds:,.1f} s, "
        f"recall@{manifest.recall_k} {manifest.recall:.3f} over {manifest.recall_queries} queries"
    )


def _index_cells(one: IndexDescription) -> list[str]:
    state = "current" if one.current else one.problem
    if not one.kind:
        return [one.side, "?", "", "", "", "", "", state]
    recall = f"@{one.recall_k} {one.recall:.3f}"
    return [one.side, one.kind, f"{one.rows:,}", str(one.version), _bytes(one.bytes), recall, one.created, state]


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"


def _as_version(version: str | None) -> int | str | None:
    return int(version) if version is not None and version.isdigit() else version
