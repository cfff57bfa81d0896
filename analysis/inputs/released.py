"""The released counts and evaluations of "No 'Zero-Shot' Without Exponential Data", read where they lie.

Not here: joining them (`joining.py`), tables of other makers (`tidy.py`, `clip_benchmark.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

from tailwag.errors import BadInput, NotFound

from .joining import NO_COUNTS
from .json_files import read_json, shares_of
from .points import ACCURACY_COLUMNS, FREQUENCY_COLUMNS, Accuracies, Exclusion, Frequencies
from .release_files import CountFile, EvaluationFile, as_table, layout, models_in

Task = Literal["classification", "retrieval"]
NO_MODEL = "no accuracies of this model"
LET_IT_WAG = "let-it-wag"

_COUNTS = "search_counts"
_MISALIGNMENT_END = "_misalignment_degree.json"


@dataclass(frozen=True)
class ReleasedMisalignment:
    """How many pairs of a pretraining set have hits on both sides and no common concept, as released.

    Attributes
    ----------
    pretraining
        The pretraining set.
    pairs
        Misaligned pairs.
    share_of_set
        Of the size of the set, 0 to 1.
    share_of_rows_with_hits
        Of the pairs that were found with hits, 0 to 1.
    """

    pretraining: str
    pairs: int
    share_of_set: float
    share_of_rows_with_hits: float


@dataclass(frozen=True)
class LetItWag:
    """The released part of the long-tail test set Let it Wag!.

    Attributes
    ----------
    classes
        Its class names, in the order of the list.
    accuracies
        Of every model on each class, ensembled prompts; the task is ``let-it-wag``.
    """

    classes: tuple[str, ...]
    accuracies: Accuracies


class Release:
    """The folder of the release: ``search_counts``, ``zero_shot_evaluations`` and what else is there.

    Parameters
    ----------
    folder
        Where it lies.

    Raises
    ------
    NotFound
        When there is no such folder, or no ``search_counts`` in it.

    Examples
    --------
    >>> release = Release("paper")  # doctest: +SKIP
    >>> release.frequencies("cc3m", "joint").table["count"].eq(0).sum()  # doctest: +SKIP
    2477
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise NotFound(f"there is no folder {self.folder} with the release")
        if not (self.folder / _COUNTS).is_dir():
            raise NotFound(f"{self.folder} has no folder {_COUNTS!r}: pass the folder that the release was put in")

    @cached_property
    def _count_files(self) -> tuple[CountFile, ...]:
        named = map(CountFile.named, sorted((self.folder / _COUNTS).glob("*.json")))
        return tuple(one for one in named if one is not None)

    @cached_property
    def _evaluation_files(self) -> tuple[EvaluationFile, ...]:
        folders = [self.folder / one["folder"] for one in layout()["tasks"].values()]
        named = [EvaluationFile.named(path) for folder in folders for path in sorted(folder.glob("*.json"))]
        return tuple(sorted((one for one in named if one is not None), key=lambda one: one.test_set))

    def test_sets(self, task: Task | None = None) -> tuple[str, ...]:
        """Name the test sets with evaluations of a task; None: those of either."""
        tasks = list(layout()["tasks"]) if task is None else [_known_task(task)]
        files = [one for each in tasks for one in self._evaluation_files if one.task == each]
        return tuple(dict.fromkeys(one.test_set for one in files))

    def pretrainings(self) -> tuple[str, ...]:
        """Name the pretraining sets that counts are there for."""
        return tuple(sorted({one.pretraining for one in self._count_files}))

    def models(self, pretraining: str | None = None, task: Task = "classification") -> tuple[str, ...]:
        """Name the models with evaluations of a task; those of one pretraining set, or all of them."""
        files = [one for one in self._evaluation_files if one.task == _known_task(task)]
        every = {key for one in files for key in models_in(one.path)}
        return tuple(sorted({model for model, own in every if pretraining in (None, own)}))

    def thresholds(self, pretraining: str, side: str = "joint") -> tuple[float, ...]:
        """Give the thresholds of the image tagger at which a pretraining set was counted; none for captions."""
        own = self._counts_of(pretraining, _known_side(side))
        return tuple(sorted({one.threshold for one in own if one.threshold is not None}))

    def accuracies(
        self,
        pretraining: str,
        model: str | Sequence[str] | None = None,
        *,
        prompts: str | None = None,
        task: Task = "classification",
        sets: Sequence[str] | None = None,
    ) -> Accuracies:
        """How well did models do on each concept?

        Parameters
        ----------
        pretraining, model
            Matched whole: ``"cc3m"``, ``"RN50"``. Several models may be named; None takes all of the pretraining set.
        prompts
            ``class`` (the bare name, the main figures), ``simple`` or ``ensemble``; of retrieval ``t2i_k=10`` and so
            on. None: the first of those.
        task
            ``classification`` (files in percent) or ``retrieval`` (in fractions): the unit is the layout's.
        sets
            The test sets; None takes all that have such a file.

        Raises
        ------
        NotFound
            When a test set, file, pretraining set or model is not there; names what there is.
        BadInput
            When a file has a name twice, is no JSON, or holds a value outside its unit's range.
        """
        files = self._evaluations(task, prompts, sets)
        every = {key for one in files for key in models_in(one.path)}
        wanted = [model] if isinstance(model, str) else list(model or self.models(pretraining, task))
        for one in wanted or [""]:
            if (one, pretraining) not in every:
                raise _no_such_model(one, pretraining, every, self.folder / layout()["tasks"][task]["folder"])
        rows, exclusions = [], []
        for one in wanted:
            for file in files:
                if (one, pretraining) not in models_in(file.path):
                    exclusions.append(Exclusion(file.path.name, f"{one}/{pretraining}", NO_MODEL))
                    continue
                own, left_out = file.read(one, pretraining)
                rows += own
                exclusions += left_out
        return Accuracies(as_table(rows, ACCURACY_COLUMNS), tuple(dict.fromkeys(exclusions)))

    def whole_set(
        self,
        *,
        prompts: str | None = None,
        task: Task = "classification",
        sets: Sequence[str] | None = None,
    ) -> Accuracies:
        """How well did every model do on whole test sets? One row a model and set, with the concept ``""``.

        Raises as `accuracies` does.
        """
        rows = [row for one in self._evaluations(task, prompts, sets) for row in one.read_whole()]
        return Accuracies(as_table(rows, ACCURACY_COLUMNS))

    def frequencies(
        self,
        pretraining: str,
        side: str = "joint",
        threshold: float = 0.7,
        *,
        task: Task | None = None,
        sets: Sequence[str] | None = None,
    ) -> Frequencies:
        """How many pairs of a pretraining set show each concept of each test set?

        Parameters
        ----------
        pretraining
            ``cc3m``, ``laion400m``, …
        side
            ``image``, ``caption`` or ``joint``.
        threshold
            Of the image tagger; captions have none.
        task, sets
            Which test sets; None takes all that have evaluations or counts. Those without counts are exclusions, unless
            they were named in `sets`.

        Raises
        ------
        NotFound
            When the pretraining set, the threshold or a named test set is not there; says what is.
        BadInput
            When a file has a name twice, is no JSON, or holds anything but whole numbers.
        """
        counted = self._counts_of(pretraining, _known_side(side))
        files = {one.test_set: one for one in counted if one.threshold in (None, threshold)}
        if not files:
            have = ", ".join(f"{one:g}" for one in self.thresholds(pretraining, side))
            also = f" at threshold {threshold:g}; there are those at {have}" if have else ""
            raise NotFound(f"{self.folder} has no {side} counts of {pretraining!r}{also}")
        for test_set in sets or ():
            if test_set not in files:
                raise NotFound(
                    f"{self.folder} has no {side} counts of {pretraining!r} for test set {test_set!r}; "
                    f"it has those of {', '.join(sorted(files))}"
                )
        known = self.test_sets(task) if task else dict.fromkeys((*self.test_sets(), *sorted(files)))
        rows, exclusions = [], []
        for test_set in sets or known:
            if test_set not in files:
                exclusions.append(Exclusion(f"{_COUNTS}, {pretraining} {side}", test_set, NO_COUNTS))
                continue
            own, left_out = files[test_set].read()
            rows += own
            exclusions += left_out
        return Frequencies(as_table(rows, FREQUENCY_COLUMNS), tuple(exclusions))

    def misalignment(self, pretraining: str) -> ReleasedMisalignment:
        """How many pairs of a pretraining set have no common concept though both sides have some?

        Raises
        ------
        NotFound
            When there is no such file; names the pretraining sets that have one.
        BadInput
            When the file does not hold the three numbers.
        """
        folder = self.folder / "misalignment_metrics"
        path = folder / f"{pretraining}{_MISALIGNMENT_END}"
        if not path.is_file():
            have = sorted(one.name.removesuffix(_MISALIGNMENT_END) for one in folder.glob(f"*{_MISALIGNMENT_END}"))
            raise NotFound(f"{folder} has no misalignment of {pretraining!r}; it has {', '.join(have) or 'none'}")
        content = read_json(path)
        # The keys say percent; what stands behind them are fractions.
        keys = [
            "misalignment_counts",
            "misalignment_degree (percent); fixed conservative dataset size",
            "misalignment_degree (percent); extracted dataset size",
        ]
        if not isinstance(content, dict) or not all(isinstance(content.get(key), int | float) for key in keys):
            raise BadInput(f"{path} does not hold the three numbers {', '.join(keys)}")
        return ReleasedMisalignment(pretraining, *(content[key] for key in keys))

    def let_it_wag(self) -> LetItWag:
        """Give the class list of Let it Wag! and every model's accuracy on its classes.

        Raises
        ------
        NotFound
            When its files are not in the release.
        BadInput
            When they cannot be read.
        """
        folder = self.folder / "let_it_wag_datasets"
        listed, path = folder / "let_it_wag_class_list.txt", folder / "evaluations" / "let_it_wag_ensemble_results.json"
        for each in (listed, path):
            if not each.is_file():
                raise NotFound(f"the release in {self.folder} has no {each.relative_to(self.folder)}")
        lines = (line.strip().removesuffix(",").strip('"') for line in listed.read_text("utf-8").splitlines())
        rows = []
        for (model, pretraining), entry in models_in(path).items():
            if not isinstance(entry, dict) or not isinstance(entry.get("classwise"), dict):
                raise BadInput(f"{path}: {model}/{pretraining} has no object 'classwise'")
            for concept, share in shares_of(entry["classwise"], "percent", path).items():
                rows.append((model, pretraining, LET_IT_WAG, concept, "accuracy", share, float("nan")))
        return LetItWag(tuple(line for line in lines if line), Accuracies(as_table(rows, ACCURACY_COLUMNS)))

    def _counts_of(self, pretraining: str, side: str) -> list[CountFile]:
        if pretraining not in self.pretrainings():
            raise NotFound(f"{self.folder} has no counts of {pretraining!r}; it has {', '.join(self.pretrainings())}")
        return [one for one in self._count_files if (one.pretraining, one.side) == (pretraining, side)]

    def _evaluations(self, task: Task, prompts: str | None, sets: Sequence[str] | None) -> list[EvaluationFile]:
        own = layout()["tasks"][_known_task(task)]
        prompts = own["prompts"][0] if prompts is None else prompts
        if prompts not in own["prompts"]:
            raise BadInput(f"there are no prompts {prompts!r} for {task}; there are {', '.join(own['prompts'])}")
        files = {one.test_set: one for one in self._evaluation_files if (one.task, one.prompts) == (task, prompts)}
        where = self.folder / own["folder"]
        if not files:
            raise NotFound(f"{where} has no evaluations named {own['file'].format(set='…', prompts=prompts)}")
        for test_set in sets or ():
            if test_set not in files:
                raise NotFound(
                    f"{where} has no {prompts} evaluations of test set {test_set!r}; it has those of {', '.join(files)}"
                )
        return [files[test_set] for test_set in (sets or files)]


def _no_such_model(model: str, pretraining: str, every: Iterable[tuple[str, str]], where: Path) -> NotFound:
    own = sorted(name for name, other in every if other == pretraining)
    if own:
        near = get_close_matches(model, own, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return NotFound(f"{where} has no model {model!r} of {pretraining!r}, but {', '.join(own)}{hint}")
    sets = sorted({other for _, other in every})
    return NotFound(f"{where} has no models of {pretraining!r}; it has those of {', '.join(sets)}")


def _known_task(task: str) -> str:
    if task not in layout()["tasks"]:
        raise BadInput(f"there is no task {task!r}; there are {', '.join(layout()['tasks'])}")
    return task


def _known_side(side: str) -> str:
    if side not in layout()["searches"]:
        raise BadInput(f"there is no side {side!r}; there are {', '.join(layout()['searches'])}")
    return side
