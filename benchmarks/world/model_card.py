"""The model card that ships beside the weights, worded from measured numbers."""

from __future__ import annotations

import textwrap
from typing import Any

from .packaged_model import TrainingRecord
from .vocabulary import FAMILIES, concepts, family_names

_ROWS = (
    ("kind", "kinds, one thing"),
    ("colour", "colours, one thing"),
    ("texture", "textures, one thing"),
    ("background", "backgrounds, one thing"),
    ("number", "numbers, one to three things"),
    ("kind, 2 things", "best kind is there, two things"),
    ("kind, 3 things", "best kind is there, three things"),
)


def _accuracy_table(accuracy: dict[str, float]) -> list[str]:
    lines = ["| what is asked | top-1 |", "|---|---:|"]
    return lines + [f"| {title} | {100 * accuracy[name]:.1f} % |" for name, title in _ROWS]


def _counting_table(counting: dict[str, dict[str, float]]) -> list[str]:
    lines = [
        "| exponent | images of a kind, most to least | Spearman, kinds | error, kinds | Spearman, all | error, all |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for exponent, found in counting.items():
        lines.append(
            f"| {exponent} | {found['most_kind']:,.0f} to {found['least_kind']:,.0f} | {found['rho_kinds']:.3f} "
            f"| {found['error_kinds']:.3f} | {found['rho_all']:.3f} | {found['error_all']:.3f} |"
        )
    return lines


def model_card(record: TrainingRecord, measured: dict[str, Any]) -> str:
    """Word the card.

    Parameters
    ----------
    record
        How the weights were trained.
    measured
        What `measure_model` found.
    """
    images = measured["images"]
    families = ", ".join(f"{len(family_names(family))} {family}s" for family in FAMILIES)
    command = (
        f"tailwag world train --out DIR --steps {record.steps} --batch {record.batch} --seed {record.seed} "
        f"--threads {record.threads}"
    )
    parts = [
        "# tailwag:world, a small CLIP for the drawn world",
        _paragraph(
            f"An open_clip model of {measured['megabytes']:.1f} MB (float16) that knows the {len(concepts())} concepts",
            f"of tailwag's drawn world ({families}) and nothing else. It exists so that counting can be tried and",
            "tested, against a known truth, without a download. It knows nothing of photographs.",
        ),
        "    tailwag embed WORLD --corpus world --model tailwag:world",
        "## Zero-shot accuracy",
        _paragraph(
            f"{images['accuracy']:,} fresh images a row, balanced over the concepts; silhouettes, textures and",
            "backgrounds are drawn anew, from seeds used neither in training nor in tuning. Chance is 1.1 % for kinds,",
            "33 % for numbers.",
        ),
        "\n".join(_accuracy_table(measured["accuracy"])),
        "## Counting",
        _paragraph(
            f"`thresholds.csv` holds a threshold for every concept, from {images['thresholds']:,} fresh labelled",
            "balanced images: the lowest at which no more than a set share of the images without the concept are hits",
            "(the column `false_hit_rate` says what it came to). The estimate is hits / recall.",
            f"Worlds of {images['counting']:,}",
            "images; error is the median |log10(estimate / true)|; *all* means all families together.",
        ),
        "\n".join(_counting_table(measured["counting"])),
        "## Training",
        f"    {command}",
        _paragraph(
            f"{record.steps:,} steps of {record.batch} images, each drawn once and never seen again;",
            f"{record.minutes:.0f} minutes with one core to compute and a third of one to draw, on a busy machine",
            "without a GPU. open_clip's ModifiedResNet and text transformer, its tokenizer and its ClipLoss; a linear",
            "head on the image vector for each family helped through the first 85 % and was thrown away. The training",
            "world is balanced and shares no image with any world that is counted.",
        ),
        "Accuracy, thresholds and this card are written by `tailwag world measure DIR`. Apache-2.0, as the program.",
    ]
    return "\n\n".join(parts) + "\n"


def _paragraph(*pieces: str) -> str:
    return textwrap.fill(" ".join(pieces), 118)
