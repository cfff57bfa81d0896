"""The commands `tailwag count` and `tailwag info`: parse, call the library, print.

Not here: `tailwag search` and `tailwag index` (`search_commands.py`). Only click is imported at the top.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from .centring_option import CentringWish, centre_option, check_rethreshold, was_given, wish_for_pictures
from .concept_options import concepts_option
from .estimate_commands import Sampling, answer_by_sample, is_sketch, open_sketch, sampling_options
from .joint_commands import CaptionOptions, answer_with_captions, caption_options
from .query_options import ChosenThresholds, choose_thresholds, make_prototypes, report_unmatched, wanted_concepts
from .recording import Recording, answer_from_histograms, count_recorded, known_query, recording_options

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from .centring_choice import Centre
    from .counting import CountResult
    from .records.saved_frequencies import SavedFrequency

_NO_FREQUENCY = (
    "A count says how many look alike at this threshold, not how many truly show it: a count is not a frequency."
)


# Those of `counting/backends.py`, which would import numpy here.
BACKEND_NAMES = ["auto", "cpu", "cuda", "cuda-torch", "c", "numba", "reference"]


@click.command()
@click.argument("corpus")
@click.argument("concept", required=False)
@concepts_option
@click.option(
    "--examples", is_flag=True, help="With --concepts: prototypes from the example images that the file names."
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE",
    help="An example picture as the prototype; several times: the mean of them.",
)
@click.option("--threshold", type=float, help="Least similarity of a hit, from -1 to 1.")
@click.option("--thresholds", metavar="LIST|FILE.csv", help="Several: 0.24,0.26; or a CSV with concept,threshold.")
@click.option(
    "--template",
    metavar="TEXT|SET",
    help="Text with {} for the name, or plain, openai-imagenet, simple-imagenet.  "
    '[default: the set\'s own, else "a photo of a {}"]',
)
@centre_option("no")
@click.option(
    "--side", type=click.Choice(["image", "text"]), default="image", show_default=True, help="Vectors compared."
)
@click.option("--where", metavar="CONDITION", help='Only the rows that fulfil this, in SQL: "width >= 256".')
@click.option(
    "--margin",
    type=float,
    metavar="DISTANCE",
    help="With --concepts: count also the hits that lie no further than this below their row's best concept.",
)
@click.option(
    "--other-threshold",
    type=float,
    metavar="SIMILARITY",
    help="Count also the hits whose other side (the caption's vector; with --side text the image's) reaches this.",
)
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
@click.option("--backend", type=click.Choice(BACKEND_NAMES), default="auto", show_default=True, help="What counts.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where: on this machine, or on the nodes of a Ray cluster.",
)
@click.option("--ray-address", default=None, help="Of the cluster.  [default: the one this machine belongs to]")
@caption_options
@sampling_options
@recording_options
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Write the counts as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="PATH", help="Write the counts as parquet.")
def count(
    corpus: str,
    concept: str | None,
    concepts: str | None,
    examples: bool,
    images: tuple[str, ...],
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    centre: Centre,
    side: Any,
    where: str | None,
    margin: float | None,
    other_threshold: float | None,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    backend: str,
    engine: str,
    ray_address: str | None,
    captions: CaptionOptions,
    sampling: Sampling,
    recording: Recording,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Count the images of CORPUS that look like CONCEPT, exactly.

    A hit is a row whose similarity to the concept's prototype is at least the threshold. Without a threshold, one
    concept is counted at a ladder of them to choose from. With --estimate a sample of the rows is counted, widened
    until the interval is narrow enough or Ctrl-C is pressed. CORPUS may also be a sketch's file (`tailwag sketch`);
    the answer is then an estimate too. With --save the count is kept: other thresholds are answered from it at once,
    newer versions are counted from it, and `tailwag verify` checks it. With --captions, captions that name the concept
    are counted beside images that look like it, and pairs that do both.

    \b
    Example:
      tailwag count cc3m "red panda" --threshold 0.27
      tailwag count cc3m "red panda"
      tailwag count cc3m --concepts caltech101 --thresholds 0.24,0.26 --parquet counts.parquet
      tailwag count cc3m --image example.jpg --threshold 0.8
      tailwag count cc3m "red panda" --centre auto
      tailwag count cc3m --concepts caltech101 --threshold 0.27 --margin 0.02 --where "width >= 256"
      tailwag count cc3m "red panda" --threshold 0.27 --estimate --within 10%
      tailwag count cc3m.sketch "zebra" --threshold 0.3
      tailwag count cc3m --concepts caltech101 --threshold 0.27 --captions --misalignment
      tailwag count cc3m --concepts caltech101 --threshold 0.27 --save
      tailwag count cc3m --concepts caltech101 --threshold 0.25 --rethreshold
      tailwag count cc3m --since 4
      tailwag count laion400m --concepts imagenet --thresholds thresholds.csv --db s3://ours/db --engine ray
    """
    import numpy as np

    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from .counting import CountQuery
    from .counting import count as count_corpus
    from .counting import where as control_where
    from .counting.cluster import Cluster
    from .result_tables import check_folder

    named = concept is not None or concepts is not None or bool(images)
    if named or recording.since is None:
        _check_usage(concept, concepts, examples, images, threshold, thresholds, template, as_json, csv_path)
    for path in (csv_path, parquet_path, recording.certificate_path):
        check_folder(path)  # now, not after hours of counting
    ladder = threshold is None and thresholds is None
    sampled = sampling.wanted or is_sketch(corpus)
    sampling.check_usage(corpus, version, ladder)
    recording.check_usage(named=named, thresholds=not ladder, images=bool(images), sampled=sampled)
    full = not sampled and not recording.rethreshold and recording.since is None
    other_parts = (margin, other_threshold) != (None, None)
    if not full and other_parts:
        raise click.UsageError("--margin and --other-threshold go with a full count: leave them out here.")
    if where is not None and not full and (not sampling.wanted or is_sketch(corpus)):
        raise click.UsageError("--where goes with a full count or with --estimate: leave it out here.")
    if engine == "ray" and (not full or captions.wanted):
        raise click.UsageError("--engine ray goes with a full count of vectors: leave it out here.")
    if margin is not None and concepts is None:
        raise click.UsageError("--margin goes with --concepts: one concept is always its row's best.")
    captions.check_usage(
        full=full,
        ladder=ladder,
        many=concepts is not None,
        images=bool(images),
        side=side,
        other_parts=other_parts,
    )
    if is_sketch(corpus):
        opened, side = open_sketch(corpus, side)
    else:
        opened = Corpus.open(database, corpus, _as_version(version))
    outputs = {"as_json": as_json, "csv_path": csv_path, "parquet_path": parquet_path}
    if isinstance(opened, Corpus) and recording.since is not None and not named:
        if was_given():
            raise click.UsageError("--since without CONCEPT takes its prototypes too: leave out --centre.")
        query = known_query(opened, recording.since, side)
        chosen = ChosenThresholds(query.thresholds, query.threshold_sources, CentringWish("no"))
        ladder = set(query.threshold_sources) == {"ladder"}
    else:
        wanted = wanted_concepts(concept, concepts, template, images)
        chosen, names = choose_thresholds(opened, wanted, threshold, thresholds, centre)
        wish = wish_for_pictures(chosen.wish) if images or examples else chosen.wish
        if recording.rethreshold and isinstance(opened, Corpus):
            report_unmatched(chosen)
            check_rethreshold(wish)
            made = {
                "template": template,
                "examples": examples,
                "centred": wish.wish == "yes",
                "version": version,
            }
            asked = (wanted.select(names), chosen.values, chosen.sources, side)
            answer_from_histograms(opened, *asked, **made, unmatched=chosen.unmatched, note=_NO_FREQUENCY, **outputs)
            return
        how = (model, pretrained, device)
        prototypes = make_prototypes(opened, wanted.select(names), images, examples, how, wish, side)
        query = CountQuery(
            prototypes,
            chosen.values,
            side,
            chosen.sources,
            control=control_where(where) if where is not None else None,
            margin=margin,
            other_thresholds=None if other_threshold is None else np.full(chosen.values.shape[-1], other_threshold),
        )
        if captions.wanted and isinstance(opened, Corpus):
            report_unmatched(chosen)
            told = {"unmatched": chosen.unmatched, "note": _NO_FREQUENCY, **outputs}
            answer_with_captions(opened, wanted.select(names), query, captions, recording, backend, **told)
            return
    if sampled or not isinstance(opened, Corpus):
        report_unmatched(chosen)
        answer_by_sample(
            opened, query, sampling, backend, ladder=ladder, unmatched=chosen.unmatched, note=_NO_FREQUENCY, **outputs
        )
        return
    kept: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    cluster = Cluster(ray_address) if engine == "ray" else None
    if recording.wanted:
        result, kept, notes = count_recorded(opened, query, recording, backend, cluster)
    else:
        with progress("counting", total=len(opened)) as bar:
            result = count_corpus(opened, query, backend, bar, cluster=cluster)
    report_unmatched(chosen)
    _write_files(result, csv_path, parquet_path)
    calibrated = _saved_frequencies(opened, result)
    if as_json:
        from .result_tables import print_json, result_as_dict

        told = {"frequencies": [one.as_dict() for one in calibrated.values()]} if calibrated else {}
        print_json({**result_as_dict(result), **chosen.unmatched, **kept, **told})
    elif csv_path is None and parquet_path is None:
        what = concept if named else query.prototypes.names[0]
        _print_ladder(result, what, calibrated) if ladder else _print_counts(result, calibrated)
    for note in notes:
        click.echo(note, err=True)


@click.command()
@click.argument("corpus", required=False)
@database_option
@version_option
@json_option
def info(corpus: str | None, database: str, version: str | None, as_json: bool) -> None:
    """Say what a corpus holds; without CORPUS, list the corpora of the database.

    \b
    Example:
      tailwag info
      tailwag info cc3m --json
    """
    from ..embed.corpus import Corpus
    from ..embed.database import Database
    from .corpus_info import corpus_lines, describe_corpus, list_corpora
    from .counting.backends import describe_backend
    from .result_tables import print_json, print_table

    if corpus is not None:
        described = describe_corpus(Corpus.open(database, corpus, _as_version(version)))
        print_json(described) if as_json else click.echo("\n".join(corpus_lines(described)))
        return
    if version is not None:
        raise click.UsageError("--version needs a CORPUS.")
    listed = list_corpora(Database(database))
    if as_json:
        print_json(listed)
    elif listed:
        print_table(
            ["corpus", "rows", "failures", "version", "space"],
            [
                [
                    one["corpus"],
                    f"{one['rows']:,}",
                    f"{one['failures']:,}",
                    str(one["corpus_version"]),
                    one["space"]["title"],
                ]
                for one in listed
            ],
            words=(0, 4),
        )
        click.echo(f"counted by {describe_backend()}")
    else:
        click.echo(f"no corpus in {database}: make one with `tailwag embed`")


def _check_usage(
    concept: str | None,
    concepts: str | None,
    examples: bool,
    images: tuple[str, ...],
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    as_json: bool,
    csv_path: str | None,
) -> None:
    """Refuse options that contradict each other, as click does what it cannot parse: exit status 2."""
    if sum((concept is not None, concepts is not None, bool(images))) != 1:
        raise click.UsageError("Name what to count: a CONCEPT, or --concepts, or --image; one of the three.")
    if threshold is not None and thresholds is not None:
        raise click.UsageError("Pass --threshold or --thresholds, not both.")
    if concepts is not None and threshold is None and thresholds is None:
        raise click.UsageError(
            "Many concepts need --threshold or --thresholds: pass one, for example --threshold 0.27."
        )
    if examples and concepts is None:
        raise click.UsageError("--examples goes with --concepts; for pictures of your own pass --image.")
    if template is not None and (images or examples):
        raise click.UsageError("--template is for texts: leave it out with pictures.")
    if as_json and csv_path == "-":
        raise click.UsageError("--json and --csv - both write to standard output: give --csv a path.")


def _as_version(version: str | None) -> int | str | None:
    """Read a version: digits are a number, anything else a tag."""
    return int(version) if version is not None and version.isdigit() else version


def _write_files(result: CountResult, csv_path: str | None, parquet_path: str | None) -> None:
    from .result_tables import STANDARD_OUTPUT, write_csv, write_parquet

    for path, write in ((csv_path, write_csv), (parquet_path, write_parquet)):
        if path is not None:
            write(result, path)
            if path != STANDARD_OUTPUT:
                click.echo(f"wrote {len(result):,} counts to {path}", err=True)


def _saved_frequencies(corpus: Corpus, result: CountResult) -> dict[str, SavedFrequency]:
    """Find what a calibration saved for these rows and concepts; of other rows of the corpus only say that it did."""
    from .records.saved_frequencies import find_frequencies

    if result.side != "image" or result.control:
        return {}
    found = find_frequencies(corpus, result.concepts)
    if found.stale:
        click.echo(
            f"tailwag: {found.stale[0]!r}"
            + (f" and {len(found.stale) - 1:,} more" if len(found.stale) > 1 else "")
            + f" was calibrated for other rows of {corpus.name!r} than these: calibrate again, or --transfer "
            f"{corpus.name}@VERSION",
            err=True,
        )
    return found.current


def _print_counts(result: CountResult, calibrated: dict[str, SavedFrequency]) -> None:
    from .records.saved_frequencies import with_frequencies
    from .result_tables import count_cells, headline, print_table

    if len(result) == 1:
        for one in calibrated.values():
            click.echo(str(one))
        click.echo(str(result[0]))
    else:
        click.echo(headline(result))
        headings, rows = count_cells(result)
        if calibrated:
            print_table(*with_frequencies(headings, rows, calibrated), words=(0, 4))
        else:
            print_table(headings, rows)
    click.echo(_NO_FREQUENCY)


def _print_ladder(result: CountResult, concept: str | None, calibrated: dict[str, SavedFrequency]) -> None:
    from .centring import is_centred
    from .counting.result import format_share, format_threshold
    from .result_tables import headline, print_table
    from .thresholds import telling_rungs

    for one in calibrated.values():
        click.echo(str(one))
    click.echo(headline(result))
    rungs = [result[int(rung)] for rung in telling_rungs(result.counts[0], result.rows)]
    print_table(
        ["threshold", "count", "share"],
        [[format_threshold(one.threshold), f"{one.count:,}", format_share(one.share)] for one in rungs],
        words=(),
    )
    what = f'"{concept}"' if concept is not None else "--image ..."
    if concept is not None and set(concept) & set('"$`\\!'):
        what = shlex.quote(concept)
    kind = " --centre yes" if is_centred(result.recipes[0]) else ""
    click.echo(
        f"No threshold was given for {result.concepts[0]!r}, so these are some to choose from. A threshold is a "
        f"choice: look at pictures first (`tailwag search {result.corpus} {what}{kind} --html page.html`), then pass "
        f"--threshold{' with' if kind else ''}{kind}."
    )
