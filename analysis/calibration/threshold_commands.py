"""The command `tailwag thresholds`: parses, calls the library, prints. Only click is imported at the top.

Not here: the rules (`threshold_rules.py`), which rows are labelled (`labelled_rows.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from ...retrieval.centring_option import centre_option
from ...retrieval.concept_options import concepts_option
from ...retrieval.query_options import wanted_concepts

if TYPE_CHECKING:
    from ...embed.corpus import Corpus
    from ...retrieval.centring_choice import Centre
    from ...retrieval.concepts import ConceptSet
    from ...retrieval.prototypes import PrototypeSet
    from .thresholds import Rule, Thresholds

labels_option = click.option(
    "--labels",
    metavar="column|FILE",
    help="Labelled rows: the corpus's own label column, or a file with key,concept,label (CSV or JSON lines).",
)


@click.command()
@click.argument("corpus")
@click.argument("concept", required=False)
@concepts_option
@labels_option
@click.option(
    "--rule",
    "rule_text",
    metavar="RULE",
    default="equal-counts",
    show_default=True,
    help="equal-counts, best-f1, precision=0.9: by a concept's own labels; global: one for all; others: by the labels "
    "of the other concepts; null: without labels.",
)
@click.option("-o", "--out", metavar="FILE.csv", help="Write the file that `tailwag count --thresholds` reads.")
@click.option("--template", metavar="TEXT|SET", help="As for `tailwag count`.")
@centre_option("auto")
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
@json_option
def thresholds(
    corpus: str,
    concept: str | None,
    concepts: str | None,
    labels: str | None,
    rule_text: str,
    out: str | None,
    template: str | None,
    centre: Centre,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Learn thresholds for CONCEPT, or for a set, from labelled rows of CORPUS.

    Each threshold comes with its recall and precision among the labelled rows, judged on rows that did not choose it,
    and with the space and the kind of prototype that it holds for. What labels are worth holds for rows like the
    labelled ones: where a concept is rarer, more of the hits are false.

    \b
    Example:
      tailwag thresholds photos --concepts caltech101 --labels column -o thresholds.csv
      tailwag count cc3m --concepts caltech101 --thresholds thresholds.csv
      tailwag thresholds cc3m "red panda" --labels labels.csv --rule precision=0.9
      tailwag thresholds photos --concepts caltech101 --labels column --rule others -o thresholds.csv
    """
    from ...embed.corpus import Corpus
    from ...retrieval.result_tables import check_folder, print_json
    from .thresholds import parse_rule

    if (concept is None) == (concepts is None):
        raise click.UsageError("Name what thresholds are for: a CONCEPT, or --concepts; one of the two.")
    rule = parse_rule(rule_text)
    if rule.needs_labels and labels is None:
        raise click.UsageError(f"--rule {rule} learns from labels: pass --labels column, or a file.")
    if not rule.needs_labels and labels is not None:
        raise click.UsageError("--rule null uses no labels: leave out --labels, or take another rule.")
    check_folder(out)
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    learned = _learn(
        opened, wanted_concepts(concept, concepts, template), labels, rule, centre, model, pretrained, device
    )
    if out is not None:
        learned.save(out)
    for note in learned.notes:
        click.echo(f"tailwag: {note}", err=True)
    _tell_left_out(learned)
    print_json(_as_dict(learned)) if as_json else _print(learned, out)


def _learn(
    corpus: Corpus,
    wanted: ConceptSet,
    labels: str | None,
    rule: Rule,
    centre: Centre,
    model: str | None,
    pretrained: str | None,
    device: str | None,
) -> Thresholds:
    from tailwag.progress import progress

    from ...retrieval.centring import kind_of
    from ...retrieval.counting import CountQuery, count
    from .labelled_rows import open_labels
    from .thresholds import thresholds_from_labels, thresholds_from_null

    # Labels first: a mistake in them should not wait for a model.
    labelled = open_labels(labels, corpus, wanted) if labels is not None else None
    prototypes = make_prototypes(corpus, wanted, centre, model, pretrained, device)
    holds_for = {"space": corpus.space, "kind": kind_of(prototypes.recipes[0])}
    if labelled is None:
        with progress("counting", total=len(corpus)) as bar:
            result = count(corpus, CountQuery(prototypes, 1.0, histogram=True), progress=bar)
        assert result.histogram is not None  # it was asked for
        where = f"corpus {corpus.name!r} (version {corpus.version})"
        return thresholds_from_null(rule, wanted.names, result.histogram, **holds_for, corpus=where)
    for note in labelled.notes:
        click.echo(f"tailwag: {labelled.source}: {note}", err=True)
    with progress("counting", total=len(labelled) * (1 if labelled.absent is None else 2)) as bar:
        shown, absent = labelled.histograms(corpus, prototypes, progress=bar)
    return thresholds_from_labels(rule, wanted.names, shown, absent, **holds_for, labels=labelled.source)


def make_prototypes(
    corpus: Corpus, wanted: ConceptSet, centre: Centre, model: str | None, pretrained: str | None, device: str | None
) -> PrototypeSet:
    """Make the prototypes that a command asks for, with the corpus's model."""
    from tailwag.progress import progress

    from ...embed.encoder import Encoder
    from ...retrieval.centring_option import prototypes_as_wished, wish_by_thresholds
    from ...retrieval.prototypes import prototypes_from_texts

    encoder = Encoder.for_space(corpus.space, model, pretrained, device)
    with progress("making prototypes", total=len(wanted), unit="concepts") as bar:
        made = prototypes_from_texts(wanted, encoder, bar)
    return prototypes_as_wished(made, wish_by_thresholds(centre, None, False), corpus, encoder, "image", wanted)


def _tell_left_out(learned: Thresholds) -> None:
    if not learned.left_out:
        return
    shown = "; ".join(f"{name!r}: {reason}" for name, reason in learned.left_out[:3])
    more = f"; and {len(learned.left_out) - 3:,} more" if len(learned.left_out) > 3 else ""
    click.echo(f"tailwag: without a threshold ({len(learned.left_out):,}): {shown}{more}", err=True)


def _as_dict(learned: Thresholds) -> dict[str, Any]:
    return {
        "space": {"title": learned.space.title, "fingerprint": learned.space.fingerprint},
        "kind": learned.kind,
        "rule": str(learned.rule),
        "thresholds": [one.as_dict() for one in learned],
        "left_out": dict(learned.left_out),
        "notes": list(learned.notes),
    }


def _print(learned: Thresholds, out: str | None) -> None:
    from ...retrieval.counting.result import format_threshold
    from ...retrieval.result_tables import print_table

    def share(value: float | None, lower: float | None, upper: float | None) -> str:
        return "–" if value is None else f"{value:.2f} ({lower:.2f} to {upper:.2f})"

    rows = []
    for one in learned:
        told = one.as_dict()
        shares = [
            share(*(told[f"{name}{end}"] for end in ("", "_lower", "_upper"))) for name in ("recall", "precision")
        ]
        rows.append([one.concept, format_threshold(one.threshold), f"{one.shown:,}", f"{told['labelled']:,}", *shares])
    click.echo(
        f"rule {learned.rule}, {learned.space.title}, {learned.kind} prototypes; shares with 95 % intervals, of "
        "labelled rows that did not choose the threshold"
    )
    print_table(["concept", "threshold", "shown", "of labelled", "recall", "precision"], rows)
    if out is not None:
        click.echo(f"written to {out}: tailwag count CORPUS --concepts SET --thresholds {out}")
