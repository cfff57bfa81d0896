"""The command `tailwag calibrate`: parses, calls the library, prints. Only click is imported at the top.

Not here: what happens in an audit (`audit_commands.py`).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from ...retrieval.centring_option import CentringWish, centre_option, prototypes_as_wished, wish_by_thresholds
from ...retrieval.concept_options import concepts_option
from .audit_options import Auditing, audit_options

if TYPE_CHECKING:
    import numpy as np

    from ...embed.corpus import Corpus
    from ...retrieval.centring_choice import Centre
    from ...retrieval.concepts import ConceptSet
    from ...retrieval.prototypes import PrototypeSet
    from .calibrating import CalibratedFrequencies, CalibratedFrequency, Calibration


@click.command()
@click.argument("corpus")
@click.argument("concept", required=False)
@concepts_option
@click.option(
    "--synonym",
    "synonyms",
    multiple=True,
    metavar="TEXT",
    help="Another name of CONCEPT, several times: the more of its names are known, the better the frequency.",
)
@click.option("--threshold", type=float, help="Tell the raw count at this similarity beside the frequency.")
@click.option("--thresholds", metavar="FILE.csv", help="The same with a threshold a concept: concept,threshold.")
@click.option("--template", metavar="TEXT|SET", help="As for `tailwag count`.")
@centre_option("auto")
@audit_options
@click.option("--save", is_flag=True, help="Keep the frequencies: `tailwag count` then tells them first.")
@click.option(
    "--transfer",
    metavar="CORPUS[@VERSION]",
    help="Carry the saved frequencies of another corpus of this space, or version: at best fragile.",
)
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the frequencies as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="PATH", help="Write the frequencies as parquet.")
def calibrate(
    corpus: str,
    concept: str | None,
    concepts: str | None,
    synonyms: tuple[str, ...],
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    centre: Centre,
    auditing: Auditing,
    save: bool,
    transfer: str | None,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Estimate how many images of CORPUS truly show CONCEPT, with an interval and a grade.

    A count at a threshold says how many look alike. Captions say more: among the rows that are most similar, the share
    whose caption names the concept tells how often captions name what they show, and the mentions beyond chance over
    that share are the frequency. The grade says how far to trust it: sound, fragile or unsupported.

    \b
    Example:
      tailwag calibrate cc3m "red panda" --synonym "lesser panda"
      tailwag calibrate cc3m --concepts everyday --csv frequencies.csv --save
      tailwag calibrate cc3m "red panda" --audit 30
      tailwag calibrate cc3m "red panda" --labels labels-red-panda.csv --within 20% --save
      tailwag calibrate cc12m --concepts everyday --transfer cc3m
    """
    from ...embed.corpus import Corpus
    from ...retrieval.result_tables import check_folder

    if (concept is None) == (concepts is None):
        raise click.UsageError("Name what to calibrate: a CONCEPT, or --concepts; one of the two.")
    if synonyms and concept is None:
        raise click.UsageError("--synonym goes with a CONCEPT; the file of --concepts has its own.")
    if threshold is not None and thresholds is not None:
        raise click.UsageError("Pass --threshold or --thresholds, not both.")
    if transfer is not None and (auditing.wanted or threshold is not None or thresholds is not None):
        raise click.UsageError("--transfer brings thresholds and corrections: leave out the audit and --threshold.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")
    for path in (csv_path, parquet_path):
        check_folder(path)
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    wanted = _wanted(concept, concepts, template, synonyms)
    wanted, values, sources, wish = _thresholds(opened, wanted, threshold, thresholds, centre)

    def run() -> Calibration:
        prototypes = _prototypes(opened, wanted, (model, pretrained, device), wish)
        return _calibrate(opened, wanted, prototypes, values, sources)

    if transfer is not None:
        source = _source(transfer, database)
        wish = _wish_of_saved(wish, source, wanted.names)
        prototypes = _prototypes(opened, wanted, (model, pretrained, device), wish)
        answer = _transfer(opened, source, prototypes, transfer)
        prototypes = prototypes.select([one.concept for one in answer])
    elif auditing.wanted:
        from .audit_commands import answer_by_audit, frequencies_of, tell_audit
        from .calibrating import CalibratedFrequencies

        name = shlex.quote(concept) if concept is not None else f"--concepts {shlex.quote(concepts or '')}"
        session = answer_by_audit(opened, wanted, auditing, f"tailwag calibrate {corpus} {name}", run)
        answer = CalibratedFrequencies(opened.space, frequencies_of(session))
        prototypes = session.prototypes(opened.space)
        _refuse_other_kind(prototypes, centre, auditing)
        tell_audit(session, auditing)
    else:
        done = run()
        answer, prototypes = done.table(), done.prototypes
    if save:
        _save(opened, answer, prototypes)
    _tell(answer, as_json, csv_path, parquet_path)


def _refuse_other_kind(prototypes: PrototypeSet, centre: Centre, auditing: Auditing) -> None:
    """Refuse to go on with an audit that was begun with prototypes of another kind than was asked for."""
    from tailwag.errors import BadInput

    from ...retrieval.centring import kind_of

    kind = kind_of(prototypes.recipes[0])
    if centre != "auto" and (centre == "yes") != (kind == "centred"):
        raise BadInput(
            f"the audit in {auditing.folder} was begun with {kind} prototypes: leave out --centre {centre}, or begin "
            "another with another --out"
        )


def _calibrate(
    corpus: Corpus,
    wanted: ConceptSet,
    prototypes: PrototypeSet,
    thresholds: np.ndarray | None,
    sources: tuple[str, ...] | str,
) -> Calibration:
    from tailwag.progress import progress

    from .calibrating import calibrate as calibrate_corpus

    with progress("calibrating", total=2 * len(corpus)) as bar:
        return calibrate_corpus(
            corpus, wanted, prototypes, thresholds=thresholds, threshold_sources=sources, progress=bar
        )


def _save(corpus: Corpus, answer: CalibratedFrequencies, prototypes: PrototypeSet) -> None:
    from tailwag.progress import progress

    from .saved import save_frequencies

    with progress("saving", total=len(corpus)) as bar:
        certificate = save_frequencies(corpus, answer, prototypes, progress=bar)
    known = sum(one.is_known for one in answer)
    click.echo(f"saved {known:,} frequencies as run {certificate.run.name}", err=True)


def _source(transfer: str, database: str) -> Corpus:
    from ...embed.corpus import Corpus

    name, _, version = transfer.partition("@")
    return Corpus.open(database, name, int(version) if version.isdigit() else version or None)


def _wish_of_saved(wish: CentringWish, source: Corpus, names: tuple[str, ...]) -> CentringWish:
    """Let `auto` be of the kind that was calibrated: another one could not be carried."""
    from ...retrieval.centring import kind_of
    from ...retrieval.records.saved_frequencies import find_frequencies

    saved = find_frequencies(source, names).current
    if wish.wish != "auto" or not saved:
        return wish
    kind = kind_of(next(iter(saved.values())).recipe)
    return CentringWish("yes" if kind == "centred" else "no")


def _transfer(corpus: Corpus, source: Corpus, prototypes: PrototypeSet, transfer: str) -> CalibratedFrequencies:
    from tailwag.progress import progress

    from .saved import transfer_frequencies

    with progress("counting", total=len(corpus)) as bar:
        answer, missing = transfer_frequencies(source, corpus, prototypes, progress=bar)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
        click.echo(f"tailwag: no frequency is saved in {transfer} of ({len(missing):,}): {shown}", err=True)
    return answer


def _wanted(concept: str | None, concepts: str | None, template: str | None, synonyms: tuple[str, ...]) -> ConceptSet:
    from dataclasses import replace

    from ...retrieval.concept_options import open_concepts
    from ...retrieval.concepts import query_concepts

    if concept is not None:
        asked = query_concepts(concept, template)
        return replace(asked, concepts=tuple(replace(one, synonyms=synonyms) for one in asked))
    return open_concepts(concepts or "", template)


def _thresholds(
    corpus: Corpus, wanted: ConceptSet, threshold: float | None, thresholds: str | None, centre: Centre
) -> tuple[ConceptSet, np.ndarray | None, tuple[str, ...] | str, CentringWish]:
    """Read thresholds before a model is loaded; gives also the concepts that have one, and what is left of the wish."""
    import numpy as np

    from ...retrieval.counting import check_thresholds
    from ...retrieval.thresholds import ThresholdTable, match_thresholds, read_thresholds

    if thresholds is None:
        wish = wish_by_thresholds(centre, None, threshold is not None)
        if threshold is None:
            return wanted, None, "given", wish
        return wanted, np.full(len(wanted), check_thresholds(threshold, 1)[0, 0]), "given", wish
    table = read_thresholds(thresholds)
    if not isinstance(table, ThresholdTable):
        raise click.UsageError("--thresholds names a file with one a concept; for one number pass --threshold.")
    table.require_space(corpus.space)
    wish = wish_by_thresholds(centre, table, True)
    matched = match_thresholds(table, wanted.names)
    for names, what in (
        (matched.without_threshold, "not calibrated for want of a threshold"),
        (matched.without_concept, "thresholds of no concept that was asked for"),
    ):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
            click.echo(f"tailwag: {what} ({len(names):,}): {shown}", err=True)
    return wanted.select(matched.names), matched.thresholds[:, 0], matched.sources, wish


def _prototypes(
    corpus: Corpus, wanted: ConceptSet, model: tuple[str | None, str | None, str | None], wish: CentringWish
) -> PrototypeSet:
    from tailwag.progress import progress

    from ...embed.encoder import Encoder
    from ...retrieval.prototypes import prototypes_from_texts

    encoder = Encoder.for_space(corpus.space, *model)
    with progress("making prototypes", total=len(wanted), unit="concepts") as bar:
        made = prototypes_from_texts(wanted, encoder, bar)
    return prototypes_as_wished(made, wish, corpus, encoder, "image", wanted)


def _tell(done: CalibratedFrequencies, as_json: bool, csv_path: str | None, parquet_path: str | None) -> None:
    from ...retrieval.recording import write_tables

    write_tables(done, csv_path, parquet_path)
    if as_json:
        from ...retrieval.result_tables import print_json

        print_json(frequencies_as_dict(done))
    elif csv_path is None and parquet_path is None:
        print_frequencies(done)


def frequencies_as_dict(done: CalibratedFrequencies) -> dict[str, Any]:
    """Give frequencies as what JSON can hold: what they hold for once, then one entry a concept; unknown is null."""
    from dataclasses import asdict

    from ...retrieval.result_tables import without_nan

    rows = [without_nan(asdict(one)) for one in done]
    for row in rows:
        for name in ("rows", "corpus", "corpus_version"):
            del row[name]
    return {
        "corpus": done[0].corpus,
        "corpus_version": done[0].corpus_version,
        "space": {"title": done.space.title, "fingerprint": done.space.fingerprint},
        "side": "image",
        "rows": done[0].rows,
        "frequencies": rows,
    }


def print_frequencies(done: CalibratedFrequencies) -> None:
    """Print one concept as sentences, many as a table with their grades counted below it."""
    from ...retrieval.result_tables import print_table

    if len(done) == 1:
        click.echo(str(done[0]))
        return
    click.echo(
        f"corpus '{done[0].corpus}' (version {done[0].corpus_version}, {done.space.title}): {done[0].rows:,} images; "
        "frequencies with 95 % intervals"
    )
    raw = any(one.has_given_threshold for one in done)
    print_table(
        ["concept", "frequency", "from", "to", "grade", "mentions", "recall", *(["raw count"] if raw else []), "why"],
        [_cells(one, raw) for one in done],
        words=(0, 4, 8 if raw else 7),
    )
    grades = [one.grade for one in done]
    click.echo(", ".join(f"{grades.count(grade):,} {grade}" for grade in ("sound", "fragile", "unsupported")) + ".")
    if not all(one.own_recall for one in done):
        click.echo("* the other concepts' recall, since too little is known of its own.")
    if any(grade != "sound" for grade in grades) and not any(one.labels for one in done):
        click.echo(f"Labels help: tailwag calibrate {done[0].corpus} CONCEPT --audit 30")


def _cells(one: CalibratedFrequency, raw: bool) -> list[str]:
    from ...retrieval.records.saved_frequencies import format_rows

    numbers = [format_rows(value) for value in (one.estimate, one.lower, one.upper)]
    share = f"{one.recall:.2f}" + ("" if one.own_recall else "*")
    return [
        one.concept,
        *numbers,
        one.grade,
        f"{one.mentions:,}",
        share,
        *([f"{one.count:,}"] if raw else []),
        "; ".join(one.reasons),
    ]
