"""The released counts and evaluations of "No 'Zero-Shot' Without Exponential Data", read where they lie.

Not here: joining them (`joining.py`), tables of other makers (`tidy.py`, `clip_benchmark.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailwag.errors import BadInput, NotFound

from .joining import NO_COUNTS
from .json_files import read_counts, read_json, shares_of
from .points import ACCURACY_COLUMNS, FREQUENCY_COLUMNS, Accuracies, Exclusion, Frequencies

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "retrieval"]
NAMELESS = "a concept without a name"
NO_MODEL = "no accuracies of this model"
LET_IT_WAG = "let-it-wag"

_COUNTS = "search_counts"
_COUNTS_END = "_search_counts.json"
_MISALIGNMENT_END = "_misalignment_degree.json"
_MODEL_KEY = re.compile(r"backbone(?P<model>.+)_pretrained(?P<pretraining>.+)")


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
    def _count_files(self) -> dict[tuple[str, str], Path]:
        """Every file of counts by test set and the rest of its name: set names hold no underscore, the rest may."""
        found = {}
        for path in sorted((self.folder / _COUNTS).glob("*" + _COUNTS_END)):
            test_set, _, rest = path.name.removesuffix(_COUNTS_END).partition("_")
            found[test_set, rest] = path
        return found

    def test_sets(self, task: Task | None = None) -> tuple[str, ...]:
        """Name the test sets with evaluations of a task; None: those of either."""
        if task is None:
            return tuple(dict.fromkeys((*self.test_sets("classification"), *self.test_sets("retrieval"))))
        layout = _layout()["tasks"][_known_task(task)]
        found = set()
        for prompts in layout["prompts"]:
            end = layout["file"].format(set="", prompts=prompts)
            found |= {path.name.removesuffix(end) for path in (self.folder / layout["folder"]).glob(f"*{end}")}
        return tuple(sorted(name for name in found if "_" not in name))

    def pretrainings(self) -> tuple[str, ...]:
        """Name the pretraining sets that counts are there for."""
        ends = [re.escape(pattern).replace(re.escape("{threshold}"), r"[0-9.]+") for pattern in _searches().values()]
        method = re.compile(f"(?P<pretraining>.+)_(?:{'|'.join(ends)})")
        matches = (method.fullmatch(rest) for _, rest in self._count_files)
        return tuple(sorted({match["pretraining"] for match in matches if match}))

    def models(self, pretraining: str | None = None, task: Task = "classification") -> tuple[str, ...]:
        """Name the models with evaluations of a task; those of one pretraining set, or all of them."""
        found = set()
        for test_set in self.test_sets(task):
            for path in self._evaluation_files(task, test_set):
                keys = (_split_key(key, path) for key in read_json(path))
                found |= {model for model, own in keys if pretraining in (None, own)}
        return tuple(sorted(found))

    def thresholds(self, pretraining: str, side: str = "joint") -> tuple[float, ...]:
        """Give the thresholds of the image tagger at which a pretraining set was counted; none for captions."""
        pattern = re.escape(_searches()[_known_side(side)]).replace(re.escape("{threshold}"), r"([0-9.]+)")
        matches = (re.fullmatch(f"{re.escape(pretraining)}_{pattern}", rest) for _, rest in self._count_files)
        return tuple(sorted({float(match[1]) for match in matches if match and match.groups()}))

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
        layout = _layout()["tasks"][_known_task(task)]
        prompts = _known_prompts(layout, prompts)
        wanted = [model] if isinstance(model, str) else list(model or self._models_of(pretraining, task))
        metric = layout["metric"] if task == "classification" else _retrieval_metric(prompts)
        rows, exclusions = [], []
        for test_set, path in self._evaluations(task, prompts, sets):
            content = _by_model(path)
            for one in wanted:
                if (one, pretraining) not in content:
                    if sets is None and any((one, pretraining) in _by_model(p) for p in self._files_of(task, prompts)):
                        exclusions.append(Exclusion(path.name, f"{one}/{pretraining}", NO_MODEL))
                        continue
                    raise self._no_such_model(one, pretraining, content, path)
                values = _entry(content[one, pretraining], layout["key"], path)
                shares = shares_of(values, layout["values"], path)
                for concept, share in shares.items():
                    if not concept.strip():
                        exclusions.append(Exclusion(path.name, concept, NAMELESS))
                        continue
                    rows.append((one, pretraining, test_set, concept, metric, share, float("nan")))
        return Accuracies(_table(rows, ACCURACY_COLUMNS), _once(exclusions))

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
        layout = _layout()["tasks"][_known_task(task)]
        prompts = _known_prompts(layout, prompts)
        metric = layout["metric"] if task == "classification" else _retrieval_metric(prompts)
        rows = []
        for test_set, path in self._evaluations(task, prompts, sets):
            for (model, pretraining), entry in _by_model(path).items():
                if not isinstance(entry, dict) or "full" not in entry:
                    raise BadInput(f"{path}: {model}/{pretraining} has no value 'full'")
                (share,) = shares_of({"full": entry["full"]}, layout["values"], path).values()
                rows.append((model, pretraining, test_set, "", metric, share, float("nan")))
        return Accuracies(_table(rows, ACCURACY_COLUMNS))

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
        if pretraining not in self.pretrainings():
            raise NotFound(f"{self.folder} has no counts of {pretraining!r}; it has {', '.join(self.pretrainings())}")
        search = _searches()[_known_side(side)].format(threshold=f"{threshold:g}")
        rest = f"{pretraining}_{search}"
        files = {test_set: path for (test_set, other), path in self._count_files.items() if other == rest}
        if not files:
            have = self.thresholds(pretraining, side)
            also = f"; there are those at {', '.join(f'{one:g}' for one in have)}" if have else ""
            raise NotFound(f"{self.folder} has no {side} counts of {pretraining!r} at threshold {threshold:g}{also}")
        known = self.test_sets(task) if task else tuple(dict.fromkeys((*self.test_sets(), *sorted(files))))
        for test_set in sets or ():
            if test_set not in files:
                raise NotFound(
                    f"{self.folder} has no {side} counts of {pretraining!r} for test set {test_set!r}; "
                    f"it has those of {', '.join(sorted(files))}"
                )
        rows, exclusions = [], []
        size = float(_layout()["rows"].get(pretraining, "nan"))
        for test_set in sets or known:
            if test_set not in files:
                exclusions.append(Exclusion(f"{_COUNTS}, {rest}", test_set, NO_COUNTS))
                continue
            for concept, count in read_counts(files[test_set]).items():
                if not concept.strip():
                    exclusions.append(Exclusion(files[test_set].name, concept, NAMELESS, f"count {count}"))
                    continue
                rows.append((pretraining, side, test_set, concept, float(count), size, *[float("nan")] * 3, ""))
        return Frequencies(_table(rows, FREQUENCY_COLUMNS), tuple(exclusions))

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
        for (model, pretraining), entry in _by_model(path).items():
            for concept, share in shares_of(_entry(entry, "classwise", path), "percent", path).items():
                rows.append((model, pretraining, LET_IT_WAG, concept, "accuracy", share, float("nan")))
        return LetItWag(tuple(line for line in lines if line), Accuracies(_table(rows, ACCURACY_COLUMNS)))

    def _evaluation_files(self, task: Task, test_set: str) -> list[Path]:
        layout = _layout()["tasks"][task]
        names = (layout["file"].format(set=test_set, prompts=prompts) for prompts in layout["prompts"])
        return [path for name in names if (path := self.folder / layout["folder"] / name).is_file()]

    def _files_of(self, task: Task, prompts: str) -> list[Path]:
        layout = _layout()["tasks"][task]
        end = layout["file"].format(set="", prompts=prompts)
        return sorted((self.folder / layout["folder"]).glob(f"*{end}"))

    def _evaluations(self, task: Task, prompts: str, sets: Sequence[str] | None) -> list[tuple[str, Path]]:
        layout = _layout()["tasks"][task]
        end = layout["file"].format(set="", prompts=prompts)
        files = {path.name.removesuffix(end): path for path in self._files_of(task, prompts)}
        if not files:
            raise NotFound(f"{self.folder / layout['folder']} has no evaluations named *{end}")
        for test_set in sets or ():
            if test_set not in files:
                raise NotFound(
                    f"{self.folder / layout['folder']} has no {prompts} evaluations of test set {test_set!r}; "
                    f"it has those of {', '.join(files)}"
                )
        return [(test_set, files[test_set]) for test_set in (sets or files)]

    def _models_of(self, pretraining: str, task: Task) -> tuple[str, ...]:
        found = self.models(pretraining, task)
        if not found:
            every = {own for path in self._all_evaluations(task) for _, own in _by_model(path)}
            raise NotFound(
                f"{self.folder} has no evaluations of models of {pretraining!r}; it has those of "
                f"{', '.join(sorted(every)) or 'none'}"
            )
        return found

    def _all_evaluations(self, task: Task) -> list[Path]:
        return [path for test_set in self.test_sets(task) for path in self._evaluation_files(task, test_set)]

    def _no_such_model(self, model: str, pretraining: str, content: Iterable[tuple[str, str]], path: Path) -> NotFound:
        own = sorted(name for name, other in content if other == pretraining)
        near = get_close_matches(model, own, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if own:
            return NotFound(f"{path} has no model {model!r} of {pretraining!r}, but {', '.join(own)}{hint}")
        sets = sorted({other for _, other in content})
        return NotFound(f"{path} has no models of {pretraining!r}; it has those of {', '.join(sets)}")


def _split_key(key: str, path: Path) -> tuple[str, str]:
    match = _MODEL_KEY.fullmatch(key)
    if match is None:
        raise BadInput(f"{path}: the model key {key!r} is not of the form backbone…_pretrained…")
    return match["model"], match["pretraining"]


def _by_model(path: Path) -> dict[tuple[str, str], Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no object of models")
    return {_split_key(key, path): entry for key, entry in content.items()}


def _entry(entry: Any, key: str, path: Path) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), dict):
        raise BadInput(f"{path}: a model's entry has no object {key!r}")
    return entry[key]


def _table(rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))


def _once(exclusions: list[Exclusion]) -> tuple[Exclusion, ...]:
    return tuple(dict.fromkeys(exclusions))


def _retrieval_metric(prompts: str) -> str:
    direction, _, depth = prompts.partition("_k=")
    return f"{'text-to-image' if direction == 't2i' else 'image-to-text'} recall@{depth}"


@lru_cache(maxsize=1)
def _layout() -> dict[str, Any]:
    return tomllib.loads(resources.files("tailwag.configs").joinpath("release.toml").read_text("utf-8"))


def _searches() -> dict[str, str]:
    return _layout()["searches"]


def _known_task(task: str) -> str:
    if task not in _layout()["tasks"]:
        raise BadInput(f"there is no task {task!r}; there are {', '.join(_layout()['tasks'])}")
    return task


def _known_prompts(layout: dict[str, Any], prompts: str | None) -> str:
    if prompts is None:
        return layout["prompts"][0]
    if prompts not in layout["prompts"]:
        raise BadInput(f"there are no prompts {prompts!r}; there are {', '.join(layout['prompts'])}")
    return prompts


def _known_side(side: str) -> str:
    if side not in _searches():
        raise BadInput(f"there is no side {side!r}; there are {', '.join(_searches())}")
    return side
