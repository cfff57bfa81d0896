"""What `tailwag count` answers with captions beside images: `--captions` and `--misalignment`.

Not here: the command itself (`commands.py`), what is counted (`captions/`). Only click is imported at the top.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from .recording import Recording, keep_counts, write_tables

if TYPE_CHECKING:
    from ..embed.corpus import Corpus
    from .captions.joint import JointCount, JointCounts
    from .captions.misalignment import Misalignment
    from .concepts import ConceptSet
    from .counting import CountQuery

# How `captions/matching.py` says that a caption names a concept; importing it would import numpy.
_RULES = ("words", "phrase")
_SHARES = ("expected", "lift", "unseen_share", "unnamed_share")


@dataclass(frozen=True)
class CaptionOptions:
    """What `--captions` and `--misalignment` come to.

    Attributes
    ----------
    rule
        How a caption names a concept; None where captions are not asked for.
    misalignment
        Whether the misalignment degree is wanted.
    """

    rule: Any
    misalignment: bool

    @property
    def wanted(self) -> bool:
        """Whether captions are to be counted beside the images."""
        return self.rule is not None

    def check_usage(self, *, full: bool, ladder: bool, many: bool, images: bool, side: str, other_parts: bool) -> None:
        """Refuse options that contradict each other, as click does what it cannot parse: exit status 2."""
        if self.misalignment and not self.wanted:
            raise click.UsageError("--misalignment compares images with captions: pass --captions too.")
        if not self.wanted:
            return
        if self.misalignment and not many:
            raise click.UsageError("--misalignment goes with --concepts: one concept is always the one in common.")
        if not full:
            raise click.UsageError("--captions goes with a full count: leave it out here.")
        if ladder:
            raise click.UsageError("--captions needs --threshold or --thresholds: pass one.")
        if images:
            raise click.UsageError("--captions looks for words, and --image has none: name a concept.")
        if side != "image":
            raise click.UsageError("--captions compares words with images: leave out --side text.")
        if other_parts:
            raise click.UsageError("--captions counts parts of its own: leave out --margin and --other-threshold.")


def caption_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of counting captions too; it takes them together as `captions`."""

    @click.option(
        "--captions",
        "rule",
        type=click.Choice(_RULES),
        is_flag=False,
        flag_value="words",
        help="Count also the captions that name each concept, and the pairs whose image and caption agree: by all the "
        "words of its name in any form, or by the phrase.  [default, when given alone: words]",
    )
    @click.option(
        "--misalignment",
        is_flag=True,
        help="With --captions: on how many pairs both sides have hits, but for no concept in common.",
    )
    @functools.wraps(command)
    def wrapped(*, rule: str | None, misalignment: bool, **others: Any) -> Any:
        return command(captions=CaptionOptions(rule, misalignment), **others)

    return wrapped


def answer_with_captions(
    corpus: Corpus,
    concepts: ConceptSet,
    query: CountQuery,
    captions: CaptionOptions,
    recording: Recording,
    backend: str,
    *,
    as_json: bool,
    csv_path: str | None,
    parquet_path: str | None,
    unmatched: Mapping[str, Any],
    note: str,
) -> None:
    """Count captions, images and pairs, keep what is to be kept, print or write it; `note` ends what people read."""
    from tailwag.progress import progress

    from .captions.counting import count_captions
    from .captions.joint import joint_frequency
    from .captions.saved import caption_rows

    with progress("reading captions", total=len(corpus)) as bar:
        found = count_captions(corpus, concepts, keep=captions.rule, control=query.control, progress=bar)
    query = replace(query, histogram=recording.save, partials=recording.wanted)
    with progress("counting", total=len(corpus)) as bar:
        joint = joint_frequency(corpus, query, found, misalignment=captions.misalignment, backend=backend, progress=bar)
    entries: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if recording.wanted:
        entries, notes = keep_counts(
            corpus, query, joint.images, recording, more_rows=lambda run: caption_rows(joint, run)
        )
    write_tables(joint, csv_path, parquet_path)
    if as_json:
        from .result_tables import print_json

        print_json({**joint_as_dict(joint), **unmatched, **entries})
    elif csv_path is None and parquet_path is None:
        _print_joint(joint)
        click.echo(note)
    for line in notes:
        click.echo(line, err=True)


def joint_as_dict(joint: JointCounts) -> dict[str, Any]:
    """Give the counts as what JSON can hold: those of images, and what captions add to each; null where undefined."""
    from .result_tables import result_as_dict

    told = result_as_dict(joint.images)
    for entry, one in zip(told["counts"], joint, strict=True):
        del entry["mention_count"]
        entry |= {"caption": one.caption, "joint": one.joint}
        entry |= {name: _or_none(getattr(one, name)) for name in _SHARES}
    return {**told, "rule": joint.rule, "misalignment": [_misalignment_as_dict(one) for one in joint.misalignment]}


def _misalignment_as_dict(one: Misalignment) -> dict[str, Any]:
    shares = {"degree": _or_none(one.degree), "degree_of_both": _or_none(one.degree_of_both)}
    return {**asdict(one), "misaligned_rows": one.misaligned_rows, **shares}


def _or_none(value: float) -> float | None:
    return value if value == value else None


def _print_joint(joint: JointCounts) -> None:
    from .result_tables import headline, print_table

    if len(joint) == 1:
        click.echo(str(joint[0]))
    else:
        click.echo(f"{headline(joint.images)}; captions by {joint.rule}")
        headings = ["concept", "threshold", "image", "caption", "joint", "lift", "unseen", "unnamed"]
        print_table(headings, [_cells(one) for one in joint])
        click.echo(
            "lift: joint over image x caption / rows. unseen: of the captions that name it, those whose image is no "
            "hit; unnamed: of the images that are hits, those whose caption does not name it."
        )
    for one in joint.misalignment:
        click.echo(str(one))


def _cells(one: JointCount) -> list[str]:
    from .counting.result import format_share, format_threshold

    shares = [format_share(share) if share == share else "-" for share in (one.unseen_share, one.unnamed_share)]
    lift = f"{one.lift:.3g}" if one.lift == one.lift else "-"
    counts = [f"{count:,}" for count in (one.image, one.caption, one.joint)]
    return [one.concept, format_threshold(one.threshold), *counts, lift, *shares]
