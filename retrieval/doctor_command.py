"""The command `tailwag doctor`: asks every check of an installation and a corpus, and prints a line for each.

Here and not in `embed`, since how rows are counted and which indices are stale is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tailwag.options import database_option, device_option, json_option, query_model_options

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from ..embed.doctor import Check


@click.command()
@click.argument("corpus", required=False)
@database_option
@device_option
@click.option(
    "--rows", type=click.IntRange(1), default=64, show_default=True, help="Rows of CORPUS that are embedded again."
)
@query_model_options[0]
@query_model_options[1]
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    corpus: str | None,
    database: str,
    device: str | None,
    rows: int,
    model: str | None,
    pretrained: str | None,
    as_json: bool,
) -> None:
    """Check this installation and, with CORPUS, what that corpus holds.

    The installation: versions, models, FAISS, the GPU, how rows are counted, the database, the disk. The corpus:
    whether rows and failures add up, vectors have unit length, indices are current, and a sample of rows embedded again
    from their pictures and captions gives the vectors that are stored. A line for each: ✓ fine, ✗ wrong, – could not be
    told. Exits with 1 when something is wrong.

    \b
    Example:
      tailwag doctor
      tailwag doctor cc3m --rows 200
    """
    from .result_tables import print_json

    found: list[Check] = []
    for check in _checks(corpus, database, device, rows, model, pretrained):
        found.append(check)
        if not as_json:
            click.echo(check.line())
    wrong = [check for check in found if check.passed is False]
    if as_json:
        print_json({"passed": not wrong, "checks": [check.as_dict() for check in found]})
    context.exit(1 if wrong else 0)


def _checks(
    name: str | None, uri: str, device: str | None, rows: int, model: str | None, pretrained: str | None
) -> Iterator[Check]:
    from ..embed.corpus import Corpus
    from ..embed.database import Database
    from ..embed.doctor import check_database, check_installation

    database = Database(uri)
    # A corpus that is not there is a mistake of the caller's, to be told before anything is looked at.
    corpus = Corpus.open(database, name) if name is not None else None
    yield from check_installation()
    yield check_counting()
    yield from check_database(database)
    if corpus is not None:
        from ..embed.corpus_doctor import check_corpus

        yield from check_corpus(corpus, rows, device=device, model=model, pretrained=pretrained)
        yield from check_indices(corpus)


def check_counting() -> Check:
    """In which form are rows counted here?"""
    from ..embed.doctor import Check
    from .counting.backends import describe_backend, why_not

    form = describe_backend()
    slow = why_not("c")
    if slow is not None and not form.startswith("cuda"):
        return Check("counting", True, f"{form}; the compiled kernel is not used: {slow}", {"form": form})
    return Check("counting", True, form, {"form": form})


def check_indices(corpus: Corpus) -> Iterator[Check]:
    """Would searches use the corpus's indices?"""
    from ..embed.doctor import Check
    from .index_manifest import describe_indices

    for index in describe_indices(corpus):
        said = f"{index.kind} of {index.rows:,} rows, current" if index.current else index.problem
        yield Check(f"{index.side} index", index.current, said)
