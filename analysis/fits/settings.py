"""What can be chosen about a fit.

Not here: what is fitted (`together.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tailwag.errors import BadInput

from .published import PROCEDURES, Procedure


@dataclass(frozen=True)
class FitSettings:
    """What can be chosen about a fit.

    Attributes
    ----------
    procedure
        A key of `PROCEDURES`, or ``auto``: by pretraining set and metric.
    repeated_tasks
        Test sets whose concepts and counts are another set's again, by the name of that set; None takes those that are
        known (ImageNet-Sketch repeats ImageNet). They stay in the published figure, which has them, and are left out of
        everything else unless `count_repeated`.
    count_repeated
        Whether they count everywhere.
    level
        Of intervals.
    replicates
        Bootstrap replicates.
    seed
        Of everything drawn at random.

    Raises
    ------
    BadInput
        When a value is outside its range.
    """

    procedure: str = "auto"
    repeated_tasks: tuple[tuple[str, str], ...] | None = None
    count_repeated: bool = False
    level: float = 0.95
    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.procedure not in ("auto", *PROCEDURES):
            raise BadInput(f"{self.procedure!r} is no published procedure; there are auto, {', '.join(PROCEDURES)}")
        if not 0.5 <= self.level < 1:
            raise BadInput(f"intervals of level {self.level:g} are of no use; give one from 0.5 to below 1")
        if self.replicates < 100:
            raise BadInput(f"{self.replicates} bootstrap replicates are too few; give at least 100")

    def chosen_procedure(self, pretraining: str, metric: str) -> Procedure:
        """Give the procedure for a pretraining set and metric."""
        return PROCEDURES[procedure_name(pretraining, metric) if self.procedure == "auto" else self.procedure]


def procedure_name(pretraining: str, metric: str) -> str:
    """Which published procedure belongs to a pretraining set and metric?

    Examples
    --------
    >>> procedure_name("laion400m", "accuracy"), procedure_name("laion400m", "text-to-image recall@10")
    ('laion400m', 'retrieval')
    """
    if "recall" in metric:
        return "retrieval"
    if pretraining.startswith("laion200m"):
        return "similarity-control"
    return {"laion400m": "laion400m", "synthci30m": "synthetic"}.get(pretraining, "classification")
