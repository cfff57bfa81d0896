"""What `tailwag count` keeps of a count, and starts from: `--save`, `--certificate`, `--since`, `--rethreshold`.

Not here: what is kept (`records/`), the commands that look at it (`record_commands.py`). Only click is imported at the
top.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    import numpy as np

    from ..embed.corpus import Corpus
    from .concepts import ConceptSet
    from .counting import CountQuery, CountResult
    from .counting.cluster import Cluster
    from .records import Certificate
    from .records.runs import Run


@dataclass(frozen=True)
class Recording:
    """What `--save`, `--certificate`, `--since` and `--rethreshold` come to.

    Attributes
    ----------
    save
        Whether the count is to be kept in the database.
    certificate_path
        The file that its certificate is written to; None writes none.
    since
        The run or version from whose saved count it is to start; None reads everything.
    rethreshold
        Whether saved histograms are to answer.
    """

    save: bool
    certificate_path: str | None
    since: str | None
    rethreshold: bool

    @property
    def wanted(self) -> bool:
        """Whether a count is to be kept, or to start from one that was."""
        return self.save or self.certificate_path is not None or self.since is not None

    def check_usage(self, *, named: bool, thresholds: bool, images: bool, sampled: bool) -> None:
        """Refuse options that contradict each other, as click does what it cannot parse: exit status 2."""
        if sampled and (self.wanted or self.rethreshold):
            raise click.UsageError("What is kept are counts of all rows: leave out the sample, or --save and the like.")
        if self.rethreshold and self.wanted:
            raise click.UsageError("--rethreshold counts nothing anew: leave out --save, --certificate and --since.")
        if self.rethreshold and images:
            raise click.UsageError("--image makes a new prototype, of which nothing is saved: leave out --rethreshold.")
        if self.since is not None and not named and thresholds:
            raise click.UsageError(
                "--since without CONCEPT takes its thresholds too: leave them out, or name concepts."
            )


class Recorded(NamedTuple):
    """A count, what JSON tells of its keeping, and lines for people."""

    result: CountResult
    entries: dict[str, Any]
    notes: tuple[str, ...]


def recording_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of keeping counts; it takes them together as `recording`."""

    @click.option("--save", is_flag=True, help="Keep counts, histograms and a certificate in the database.")
    @click.option(
        "--certificate", "certificate_path", metavar="FILE", help="Write a certificate for `tailwag verify` to a file."
    )
    @click.option(
        "--since",
        metavar="RUN|VERSION",
        help="Read only what changed since a saved count, and save. Without CONCEPT: count what that one counted.",
    )
    @click.option(
        "--rethreshold", is_flag=True, help="Answer from saved histograms: no vector is read, no model loaded."
    )
    @functools.wraps(command)
    def wrapped(
        *, save: bool, certificate_path: str | None, since: str | None, rethreshold: bool, **others: Any
    ) -> Any:
        return command(recording=Recording(save, certificate_path, since, rethreshold), **others)

    return wrapped


def known_query(corpus: Corpus, since: str, side: str) -> CountQuery:
    """Give what a saved count asked, so that it can be asked again; of the side, when the command line names one."""
    from click.core import ParameterSource

    named = click.get_current_context().get_parameter_source("side") is not ParameterSource.DEFAULT
    certificate = next(_known(corpus, since, side if named else None))
    return certificate.query()


def count_recorded(
    corpus: Corpus, query: CountQuery, recording: Recording, backend: str, cluster: Cluster | None = None
) -> Recorded:
    """Count, from a saved count where one is named, and keep what is to be kept.

    A cluster counts anew; what a saved count lacks is counted on this machine.

    Raises
    ------
    NotFound
        When no such count is saved.
    BadInput
        When the saved count did not ask this.
    """
    from tailwag.progress import progress

    from .counting import count

    save = recording.save or recording.since is not None
    entries: dict[str, Any] = {}
    notes: list[str] = []
    if recording.since is not None:
        query, result = _count_since(corpus, query, recording.since, backend, entries, notes)
    else:
        query = replace(query, histogram=save, partials=True)
        with progress("counting", total=len(corpus)) as bar:
            result = count(corpus, query, backend, bar, cluster=cluster)
    kept, told = keep_counts(corpus, query, result, recording)
    return Recorded(result, entries | kept, (*notes, *told))


def keep_counts(
    corpus: Corpus,
    query: CountQuery,
    result: CountResult,
    recording: Recording,
    more_rows: Callable[[Run], Any] | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Save a count or write its certificate; `more_rows` makes rows to be saved with its own, see `save_counts`.

    Returns
    -------
    tuple[dict[str, Any], tuple[str, ...]]
        What JSON tells of it, and lines for people.
    """
    from .records import Certificate, save_counts, seal_of, write_certificate

    save = recording.save or recording.since is not None
    certificate = save_counts(corpus, query, result, more_rows=more_rows) if save else Certificate.of(query, result)
    run, seal = certificate.run.name, seal_of(certificate)
    notes = []
    if save:
        notes.append(f"saved {len(result):,} counts as run {run}; check them: tailwag verify {run}")
    if recording.certificate_path is not None:
        write_certificate(certificate, recording.certificate_path)
        notes.append(f"wrote the certificate to {recording.certificate_path}")
    return {"run": run if save else None, "seal": seal}, (*notes, f"seal {seal}")


def _count_since(
    corpus: Corpus, query: CountQuery, since: str, backend: str, entries: dict[str, Any], notes: list[str]
) -> tuple[CountQuery, CountResult]:
    from tailwag.progress import progress

    from .records import count_since
    from .records.saved_histograms import histograms_of_run

    known = _answering(corpus, since, query)
    histogram = histograms_of_run(corpus.database, known.run.name, query.prototypes.vectors)
    with progress("counting what changed") as bar:
        difference = count_since(corpus, query, known, backend, bar, histogram=histogram)
    result = difference.result
    entries |= {"since": known.run.name, "rows_read": difference.rows_read, "rows_reused": difference.rows_reused}
    notes.append(
        f"read {difference.rows_read:,} of {result.rows:,} rows; {difference.rows_reused:,} are as run "
        f"{known.run.name} counted them at version {known.corpus_version}"
    )
    if result.histogram is None:
        why = "rows that it counted are gone or changed" if histogram is not None else "it has none"
        notes.append(f"no histograms are saved, since {why}: for --rethreshold count with --save alone")
    return difference.query, result


def _known(corpus: Corpus, since: str, side: str | None = None) -> Iterator[Certificate]:
    """Load the certificates that `--since` names, the newest first; there is at least one."""
    from tailwag.errors import BadInput, NotFound

    from ..embed.corpus import Corpus
    from .records import find_runs, load_certificate
    from .records.runs import is_run_name

    if is_run_name(since):
        certificate = load_certificate(corpus.database, since)
        if certificate.corpus != corpus.name:
            raise BadInput(
                f"run {since} counted corpus {certificate.corpus!r}, not {corpus.name!r}: name one of its runs"
            )
        if side not in (None, certificate.side):
            raise BadInput(f"run {since} counted the {certificate.side} side, not {side}: leave out --side")
        yield certificate
        return
    version = int(since) if since.isdigit() else Corpus.open(corpus.database, corpus.name, since).version
    runs = find_runs(corpus.database, corpus=corpus.name)
    at_version = [run.run for run in runs if run.corpus_version == version and side in (None, run.side)]
    if not at_version:
        versions = ", ".join(str(one) for one in sorted({run.corpus_version for run in runs}))
        have = f"there are for {versions}" if runs else "there is none"
        raise NotFound(
            f"no saved count of corpus {corpus.name!r} at version {version}; {have}: count with --save first"
        )
    for run in at_version:
        yield load_certificate(corpus.database, run)


def _answering(corpus: Corpus, since: str, query: CountQuery) -> Certificate:
    """Find the newest of the saved counts that answers a query."""
    from tailwag.errors import BadInput, SpaceMismatch

    from .records.version_difference import known_parts

    first: BadInput | SpaceMismatch | None = None
    for certificate in _known(corpus, since):
        try:
            known_parts(certificate, query)
            return certificate
        except (BadInput, SpaceMismatch) as error:
            first = first or error
    assert first is not None  # there is at least one certificate
    raise first


def answer_from_histograms(
    corpus: Corpus,
    wanted: ConceptSet,
    thresholds: np.ndarray,
    sources: Sequence[str] | str,
    side: Any,
    *,
    template: str | None,
    examples: bool,
    centred: bool,
    version: str | None,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
    unmatched: Mapping[str, Sequence[str]],
    note: str,
) -> None:
    """Answer from saved histograms, and print or write what that gives; `note` ends what people read."""
    from .centring import centred_recipe
    from .prototypes import recipes_of_examples, recipes_of_texts
    from .records import rethreshold
    from .records.printing import print_rethresholded, report_rethresholded, rethresholded_as_dict

    recipes = recipes_of_examples(wanted) if examples else recipes_of_texts(wanted)
    answer = rethreshold(
        corpus,
        wanted.names,
        thresholds,
        side,
        sources,
        recipes=tuple(map(centred_recipe, recipes)) if centred else recipes,
        only_these_recipes=template is not None or examples,
        any_version=version is None,
    )
    report_rethresholded(answer)
    write_tables(answer, csv_path, parquet_path)
    if as_json:
        from .result_tables import print_json

        print_json({**rethresholded_as_dict(answer), **unmatched})
    elif csv_path is None and parquet_path is None:
        print_rethresholded(answer, sources == "ladder")
        click.echo(note)


def write_tables(result: Any, csv_path: str | None, parquet_path: str | None) -> None:
    """Write a result's table as CSV, as parquet, or both, and say so."""
    from .result_tables import STANDARD_OUTPUT, write_csv, write_parquet

    for path, write in ((csv_path, write_csv), (parquet_path, write_parquet)):
        if path is not None:
            write(result, path)
            if path != STANDARD_OUTPUT:
                click.echo(f"wrote {len(result):,} counts to {path}", err=True)
