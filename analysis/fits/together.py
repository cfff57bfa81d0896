"""Everything that is fitted to the points of one pretraining set, the published figure beside what it leaves out.

Not here: any formula (one module a method), tables and pictures (`report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tailwag.errors import BadInput

from ..inputs.points import Points
from . import concept_level
from .numbers import Flag, Number, of_cell
from .published import PROCEDURES, PublishedFit, published_fit

# pandas ships partial types under which half of a frame's methods are errors: inside, a frame is what tests say it is.
Frame = Any

# ImageNet-Sketch has ImageNet's thousand classes again, and so its counts: it counts ImageNet twice.
REPEATED_TASKS = ("imagenet-sketch",)


@dataclass(frozen=True)
class FitSettings:
    """What can be chosen about a fit.

    Attributes
    ----------
    procedure
        A key of `PROCEDURES`, or ``auto``: by pretraining set and metric.
    repeated_tasks
        Test sets whose concepts and counts are another set's again. They stay in the published figure, which has them,
        and are left out of everything else unless `count_repeated`.
    count_repeated
        Whether they count everywhere.
    level
        Of intervals.
    replicates
        Bootstrap replicates.
    seed
        Of everything drawn at random.
    """

    procedure: str = "auto"
    repeated_tasks: tuple[str, ...] = REPEATED_TASKS
    count_repeated: bool = False
    level: float = 0.95
    replicates: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class ModelFit:
    """What was fitted to one model's points.

    Attributes
    ----------
    model, metric
        As in the points.
    published, published_once
        The published figure as it was made, and with each test set counted once; the same where none is repeated.
    numbers
        Those of this model.
    flags
        Those of this model.
    """

    model: str
    metric: str
    published: PublishedFit
    published_once: PublishedFit
    numbers: tuple[Number, ...]
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Fits:
    """Everything fitted to one pretraining set, side and metric.

    Attributes
    ----------
    pretraining, side, metric
        As in the points.
    models
        One a model, in the points' order.
    numbers
        All of them: each model's, then those over models.
    flags
        All of them, without repetition; each says its model where there are several.
    points
        The rows that concept-level fits rest on: test sets counted once.
    settings
        What was asked for.
    """

    pretraining: str
    side: str
    metric: str
    models: tuple[ModelFit, ...]
    numbers: tuple[Number, ...]
    flags: tuple[Flag, ...]
    points: Frame
    settings: FitSettings

    @property
    def published(self) -> tuple[PublishedFit, ...]:
        """The published figure of each model."""
        return tuple(model.published for model in self.models)


def procedure_name(pretraining: str, metric: str) -> str:
    """Which published procedure belongs to a pretraining set and metric?

    Examples
    --------
    >>> procedure_name("laion400m", "accuracy"), procedure_name("laion400m", "recall@10")
    ('laion400m', 'retrieval')
    """
    if metric.startswith("recall"):
        return "retrieval"
    if pretraining.startswith("laion200m"):
        return "similarity-control"
    return {"laion400m": "laion400m", "synthci30m": "synthetic"}.get(pretraining, "classification")


def fit_points(points: Points, settings: FitSettings | None = None) -> Fits:
    """Fit everything to the points of one pretraining set, side and metric.

    Parameters
    ----------
    points
        Of one pretraining set, side and metric, and one model or a few.
    settings
        None takes the defaults.

    Returns
    -------
    Fits

    Raises
    ------
    BadInput
        When there is no point, or more than one pretraining set, side or metric.
    """
    settings = settings or FitSettings()
    table: Frame = points.table
    if not len(table):
        raise BadInput("there is no point to fit: no concept has both an accuracy and a frequency")
    pretraining, side, metric = (_only(table, column) for column in ("pretraining", "side", "metric"))
    name = settings.procedure if settings.procedure != "auto" else procedure_name(pretraining, metric)
    if name not in PROCEDURES:
        raise BadInput(f"{name!r} is no published procedure; there are {', '.join(PROCEDURES)}")
    once = table if settings.count_repeated else table[~table["task"].isin(settings.repeated_tasks)]
    once = once if len(once) else table
    models = []
    for model in dict.fromkeys(table["model"]):
        own, own_once = table[table["model"] == model], once[once["model"] == model]
        models.append(_fit_model(str(model), metric, name, own, own_once if len(own_once) else own))
    numbers = [
        number
        for each in models
        for number in of_cell(each.numbers, model=each.model, pretraining=pretraining, side=side)
    ]
    several = len(models) > 1
    flags = [
        Flag(flag.severity, f"{each.model}: {flag.text}" if several else flag.text)
        for each in models
        for flag in each.flags
    ]
    return Fits(
        pretraining=pretraining,
        side=side,
        metric=metric,
        models=tuple(models),
        numbers=tuple(numbers),
        flags=tuple(dict.fromkeys(flags)),
        points=once.reset_index(drop=True),
        settings=settings,
    )


def _only(table: Frame, column: str) -> str:
    values = list(dict.fromkeys(table[column]))
    if len(values) != 1:
        raise BadInput(f"the points have {len(values)} values of {column} ({', '.join(map(str, values))}); choose one")
    return str(values[0])


def _fit_model(model: str, metric: str, procedure: str, table: Frame, once: Frame) -> ModelFit:
    chosen = PROCEDURES[procedure]

    def published(rows: Frame) -> PublishedFit:
        # Estimates stand in for counts where a source has estimates alone.
        counts = rows["count"].where(rows["count"].notna(), rows["frequency"]).to_numpy(dtype=float)
        return published_fit(counts, rows["value"].to_numpy(), edges=chosen.edges, drawn=chosen.drawn)

    as_made = published(table)
    counted_once = as_made if len(once) == len(table) else published(once)
    numbers = [*_published_numbers("", as_made)]
    if counted_once is not as_made:
        numbers += _published_numbers(", each test set once", counted_once)
    numbers += _correlation_numbers("", table)
    if len(once) < len(table):
        numbers += _correlation_numbers(", each test set once", once)
    return ModelFit(model, metric, as_made, counted_once, tuple(numbers), as_made.flags)


def _published_numbers(suffix: str, fit: PublishedFit) -> list[Number]:
    method = "bin means at upper edges against log10(count), as published; concepts as if each bin were one point"
    drawn = int(fit.drawn.sum())
    return [
        Number("published", f"r of bin means{suffix}", fit.r, p=fit.p, unit="r", method=method, points=drawn),
        Number(
            "published", f"slope of bin means{suffix}", fit.slope, unit="points per decade", method=method, points=drawn
        ),
    ]


def _correlation_numbers(suffix: str, table: Frame) -> list[Number]:
    frequency, values = table["frequency"].to_numpy(dtype=float), table["value"].to_numpy(dtype=float)
    kinds = (
        ("Pearson's r of found concepts", "r", concept_level.pearson_of_found, "log10(count), concepts with count > 0"),
        ("Pearson's r of all concepts", "r", concept_level.pearson_of_all, "log10(1 + count)"),
        ("Spearman's ρ", "ρ", concept_level.spearman, "ranks, zeros tied"),
        ("Kendall's τ", "τ", concept_level.kendall, "τ-b, zeros tied"),
    )
    numbers = []
    for quantity, unit, function, method in kinds:
        found = function(frequency, values)
        numbers.append(
            Number(
                "concepts", quantity + suffix, found.value, p=found.p, unit=unit, method=method, points=found.concepts
            )
        )
    return numbers
