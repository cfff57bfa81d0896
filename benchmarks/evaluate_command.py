"""The command `tailwag evaluate`: parses, makes prototypes, evaluates, writes. Only click is imported at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from ..retrieval.concepts import ConceptSet
    from .evaluation_table import EvaluationTable

_SHOWN = 5


@click.command()
@click.argument("corpus")
@click.option("--concepts", metavar="SET|FILE", help="What images may be taken for.  [default: the corpus's labels]")
@click.option(
    "--template", metavar="TEXT", help="A text with {}, or a set of templates.  [default: the concept set's own]"
)
@click.option("--retrieval", is_flag=True, help="Captions that look for their image, instead of labels.")
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Of --retrieval: recall at k.")
@click.option("--task", metavar="NAME", help="What to call the test set.  [default: the corpus's name]")
@click.option("--pretraining", metavar="NAME", help="What the model was trained on.  [default: its pretrained tag]")
@click.option("--out", "csv_path", metavar="FILE", help="Write the accuracies as CSV; - for standard output.")
@click.option("--parquet", "parquet_path", metavar="FILE", help="Write them as parquet.")
@query_model_options[0]
@query_model_options[1]
@device_option
@database_option
@version_option
@json_option
def evaluate(
    corpus: str,
    concepts: str | None,
    template: str | None,
    retrieval: bool,
    k: int,
    task: str | None,
    pretraining: str | None,
    csv_path: str | None,
    parquet_path: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    database: str,
    version: str | None,
    as_json: bool,
) -> None:
    """How well does the corpus's model know single concepts? Zero-shot accuracy, one value a concept.

    Each labelled image is taken for the concept it is most similar to. With --retrieval each caption looks for its own
    image, and a concept's recall is over the captions that name it. The table is what `tailwag fit --accuracies` reads.

    \b
    Example:
      tailwag evaluate caltech101 --out accuracies.csv
      tailwag evaluate cub --concepts birds.toml --template "a photo of a {}, a bird" --task cub --out accuracies.csv
      tailwag evaluate coco --retrieval --concepts everyday --out recall.csv
    """
    if retrieval and concepts is None:
        raise click.UsageError("--retrieval needs --concepts: whose captions to look at.")
    if retrieval and template is not None:
        raise click.UsageError("--template is for labels: captions are texts already.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --out - both write to standard output: give --out a path.")

    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from ..retrieval.result_tables import check_folder

    for path in (csv_path, parquet_path):
        check_folder(path)
    opened = Corpus.open(database, corpus, int(version) if version is not None and version.isdigit() else version)
    wanted = _concepts(opened, concepts, template)
    with progress("evaluating", total=len(opened)) as bar:
        if retrieval:
            from .caption_retrieval import retrieval_recall

            result: Any = retrieval_recall(opened, wanted, k, bar)
            found, missing, what = result.per_concept, result.without_captions, "named by no caption"
            metric = f"text-to-image recall@{k}"
        else:
            from ..embed.encoder import Encoder
            from ..retrieval.prototypes import prototypes_from_texts
            from .zero_shot import zero_shot_accuracy

            prototypes = prototypes_from_texts(wanted, Encoder.for_space(opened.space, model, pretrained, device))
            result = zero_shot_accuracy(opened, prototypes, bar)
            found, missing, what, metric = result.per_class, result.without_images, "no image's label", "accuracy"

    from .evaluation_table import EvaluationTable

    space = opened.space
    named = space.pretrained if pretraining is None else pretraining
    table = EvaluationTable(space.title, named, task or opened.name, metric, found)
    _write(table, csv_path, parquet_path)
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else "")
        click.echo(f"tailwag: {what} ({len(missing):,}): {shown}", err=True)
    left_out = result.empty_captions if retrieval else result.unlabelled
    if left_out:
        click.echo(
            f"tailwag: left out ({left_out:,}): rows without {'a caption' if retrieval else 'a label'}", err=True
        )
    _print(table, result, as_json, csv_path == "-")


def _concepts(corpus: Corpus, concepts: str | None, template: str | None) -> ConceptSet:
    from dataclasses import replace

    from tailwag.errors import BadInput

    from ..retrieval.concept_options import open_concepts
    from ..retrieval.concepts import Concept, ConceptSet, templates_from

    if concepts is not None:
        wanted = open_concepts(concepts)
    else:
        labels = sorted({label for label in corpus.column("label").to_pylist() if label is not None})
        if not labels:
            raise BadInput(f"corpus {corpus.name!r} has no labels: zero-shot accuracy needs a labelled set")
        wanted = ConceptSet(corpus.name, tuple(map(Concept, labels)))
    if template is None:
        return wanted
    # One that is asked for here goes before those that the file gives to the set and to single concepts.
    own = tuple(replace(one, templates=None) for one in wanted)
    return replace(wanted, concepts=own, templates=templates_from(template))


def _write(table: EvaluationTable, csv_path: str | None, parquet_path: str | None) -> None:
    from ..retrieval.result_tables import STANDARD_OUTPUT, write_csv, write_parquet

    for path, write in ((csv_path, write_csv), (parquet_path, write_parquet)):
        if path is not None:
            write(table, path)
            if path != STANDARD_OUTPUT:
                click.echo(f"wrote {len(table):,} accuracies to {path}", err=True)


def _print(table: EvaluationTable, result: Any, as_json: bool, taken: bool) -> None:
    from dataclasses import asdict

    from ..retrieval.result_tables import print_json, print_table

    if as_json:
        shared = {name: getattr(table, name) for name in ("model", "pretraining", "task", "metric")}
        print_json({**shared, **asdict(result)})
    elif not taken:
        click.echo(f"{table.task}, {table.model}: {result}.")
        ordered = sorted(table.accuracies, key=lambda one: (one.value, one.concept))
        shown = ordered if len(ordered) <= 2 * _SHOWN else [*ordered[:_SHOWN], *ordered[-_SHOWN:]]
        rows = [[one.concept, f"{100 * one.value:.1f} %", f"{one.samples:,}"] for one in shown]
        print_table(["worst and best" if len(shown) < len(ordered) else "concept", table.metric, "samples"], rows)
