"""The command `tailwag sketch`, and what `tailwag count` does with `--estimate` and with a sketch.

Not here: `count`'s other options and its exact counts (`commands.py`). Only click is imported at the top.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option, query_model_options, version_option

from .concept_options import open_concepts

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from .counting import CountQuery
    from .estimates import EstimateResult, Sketch, Within

_DEFAULT_WITHIN = "10%"
_SUFFIX = ".sketch"
_EACH_FOR_ITSELF = (
    "Each interval is for its own concept and threshold; that all of them hold at once is less sure than that."
)


@dataclass(frozen=True)
class Sampling:
    """What `--estimate`, `--within`, `--sample` and `--confidence` come to.

    Attributes
    ----------
    wanted
        Whether a sample is to be counted instead of the corpus.
    within
        How narrow the intervals are wanted, as it was written; None looks once.
    rate
        The sample's rate, or the most that may be read.
    confidence
        Of each interval.
    """

    wanted: bool
    within: str | None
    rate: float | None
    confidence: float

    def check_usage(self, corpus: str, version: str | None, ladder: bool) -> None:
        """Refuse options that contradict each other, as click does what it cannot parse: exit status 2."""
        sketch = is_sketch(corpus)
        if sketch and (self.within is not None or self.rate is not None):
            raise click.UsageError("A sketch is a sample of one size: leave out --within and --sample.")
        if sketch and version is not None:
            raise click.UsageError("A sketch holds one version: leave out --version.")
        if not self.wanted and not sketch and (self.within is not None or self.rate is not None):
            raise click.UsageError("--within and --sample go with --estimate.")
        if self.wanted and ladder and not sketch and (self.within is not None or self.rate is None):
            raise click.UsageError("Pass --threshold, or for a ladder of thresholds one sample: --sample 0.01.")


def is_sketch(corpus: str) -> bool:
    """Say whether the argument CORPUS is a sketch's file; no corpus's name has a dot."""
    return corpus.endswith(_SUFFIX)


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of an estimate; it takes them together as `sampling`."""

    @click.option("--estimate", is_flag=True, help="Count in a sample only; gives an interval with each number.")
    @click.option(
        "--within",
        metavar="10%|SHARE",
        help="With --estimate: widen the sample until the ends of every interval are within 10% of its estimate, or "
        f"within a share of all rows such as 0.001.  [default: {_DEFAULT_WITHIN}, without --sample]",
    )
    @click.option(
        "--sample",
        "rate",
        type=float,
        metavar="RATE",
        help="With --estimate: the sample's share of the rows; with --within, the most that may be read.",
    )
    @click.option(
        "--confidence", type=float, default=0.95, show_default=True, help="With --estimate: of each interval."
    )
    @functools.wraps(command)
    def wrapped(*, estimate: bool, within: str | None, rate: float | None, confidence: float, **others: Any) -> Any:
        if estimate and within is None and rate is None:
            within = _DEFAULT_WITHIN
        return command(sampling=Sampling(estimate, within, rate, confidence), **others)

    return wrapped


def open_sketch(path: str, side: Any) -> tuple[Sketch, Any]:
    """Read a sketch, and give the side to compare: its own, unless the command line names one."""
    from click.core import ParameterSource

    from .estimates import load_sketch

    sketch = load_sketch(path)
    named = click.get_current_context().get_parameter_source("side") is not ParameterSource.DEFAULT
    return sketch, side if named else sketch.side


def answer_by_sample(
    opened: Corpus | Sketch,
    query: CountQuery,
    sampling: Sampling,
    backend: str,
    *,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
    ladder: bool,
    unmatched: Mapping[str, Sequence[str]],
    note: str,
) -> None:
    """Estimate, and print or write what that gives; `note` ends what people read."""
    from .estimates import Sketch, Within, estimates_as_dict
    from .result_tables import STANDARD_OUTPUT, print_json, write_csv, write_parquet

    within = Within.parse(sampling.within) if sampling.within is not None else None
    if isinstance(opened, Sketch):
        result = opened.estimate(query, sampling.confidence, backend)
    else:
        result = _watched(opened, query, within, sampling, backend)
    for path, write in ((csv_path, write_csv), (parquet_path, write_parquet)):
        if path is not None:
            write(result, path)
            if path != STANDARD_OUTPUT:
                click.echo(f"wrote {len(result):,} estimates to {path}", err=True)
    if as_json:
        print_json({**estimates_as_dict(result, within), **unmatched})
    elif csv_path is None and parquet_path is None:
        _print_ladder(result) if ladder else _print_estimates(result)
        click.echo(note)


def _watched(
    corpus: Corpus, query: CountQuery, within: Within | None, sampling: Sampling, backend: str
) -> EstimateResult:
    """Widen the sample until the intervals are narrow enough or someone presses Ctrl-C; tell what came of it."""
    from tailwag.progress import progress

    from .estimates import estimates, look_line, narrow_line

    result: EstimateResult | None = None
    stopped = False
    try:
        for result in estimates(
            corpus,
            query,
            within=within,
            rate=sampling.rate,
            confidence=sampling.confidence,
            backend=backend,
            bar=progress,
        ):
            if sys.stderr.isatty() and within is not None:
                click.echo(look_line(result, within), err=True)
    except KeyboardInterrupt:
        if result is None:
            raise
        stopped = True
    assert result is not None
    if within is not None and not within.reached(result).all():
        why = "on request" if stopped else "at the most that --sample lets be read"
        click.echo(f"tailwag: stopped {why}: {narrow_line(result, within)}", err=True)
    return result


def _print_estimates(result: EstimateResult) -> None:
    from .estimates import estimate_cells, estimate_headline
    from .result_tables import print_table

    if len(result) == 1:
        click.echo(str(result[0]))
        return
    click.echo(estimate_headline(result))
    print_table(*estimate_cells(list(result)))
    if result.approximate.any():
        click.echo(_EACH_FOR_ITSELF)


def _print_ladder(result: EstimateResult) -> None:
    from .estimates import estimate_cells, estimate_headline
    from .result_tables import print_table
    from .thresholds import telling_rungs

    click.echo(estimate_headline(result))
    headings, cells = estimate_cells([result[int(rung)] for rung in telling_rungs(result.estimates[0], result.rows)])
    print_table(headings[1:], [row[1:] for row in cells], words=())
    click.echo(
        f"No threshold was given for {result.concepts[0]!r}, so these are some to choose from. A threshold is a "
        "choice: look at pictures first, then pass --threshold."
    )


@click.command()
@click.argument("corpus")
@click.option(
    "--rows", type=click.IntRange(min=1), default=20_000, show_default=True, help="About how many rows it holds."
)
@click.option(
    "--side", type=click.Choice(["image", "text"]), default="image", show_default=True, help="Whose vectors it holds."
)
@click.option(
    "--concepts",
    metavar="NAME|FILE",
    help="Count these in the whole corpus too, and put their exact histograms in.",
)
@click.option("--out", metavar="FILE", help="File to write, ending in .sketch.  [default: CORPUS.sketch]")
@database_option
@version_option
@query_model_options[0]
@query_model_options[1]
@device_option
@json_option
def sketch(
    corpus: str,
    rows: int,
    side: Any,
    concepts: str | None,
    out: str | None,
    database: str,
    version: str | None,
    model: str | None,
    pretrained: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Write a small file that answers for CORPUS without it: a sample of its vectors.

    `tailwag count FILE.sketch "zebra"` then gives an estimate with an interval for any concept, on any machine that has
    the model. It holds no keys, no captions and no pictures.

    \b
    Example:
      tailwag sketch cc3m --out cc3m.sketch
      tailwag count cc3m.sketch "zebra" --threshold 0.3
      tailwag sketch cc3m --rows 100000 --concepts caltech101
    """
    from pathlib import Path

    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from ..embed.encoder import Encoder
    from .estimates import Sketch, save_sketch
    from .prototypes import PrototypeSet
    from .result_tables import check_folder, print_json

    path = out or f"{corpus}{_SUFFIX}"
    if not is_sketch(path):
        raise click.UsageError(f"Let --out end in {_SUFFIX}: by that `tailwag count` knows a sketch.")
    check_folder(path)
    as_version = int(version) if version is not None and version.isdigit() else version
    opened = Corpus.open(database, corpus, as_version)
    prototypes = None
    if concepts is not None:
        wanted = open_concepts(concepts)
        encoder = Encoder.for_space(opened.space, model, pretrained, device)
        with progress("making prototypes", total=len(wanted), unit="concepts") as bar:
            prototypes = PrototypeSet.of_texts(wanted, encoder, bar)
    total = min(rows, len(opened)) + (len(opened) if prototypes is not None else 0)
    with progress("sketching", total=total) as bar:
        made = Sketch.of_corpus(opened, rows, side, prototypes, progress=bar)
    save_sketch(made, path)
    size = Path(path).stat().st_size
    if as_json:
        print_json(
            {
                "path": path,
                "bytes": size,
                "corpus": made.corpus,
                "corpus_version": made.corpus_version,
                "side": made.side,
                "rows": made.rows,
                "sampled": len(made.vectors),
                "rate": made.rate,
                "concepts": 0 if made.prototypes is None else len(made.prototypes),
            }
        )
        return
    histograms = f", exact histograms of {len(made.prototypes):,} concepts" if made.prototypes is not None else ""
    click.echo(
        f"wrote {path} ({size / 1e6:.1f} MB): {len(made.vectors):,} of the {made.rows:,} {side} vectors of corpus "
        f"'{made.corpus}' (version {made.corpus_version}){histograms}. Ask it: tailwag count {path} \"zebra\""
    )
