"""One file of the paper's release: what its name and its keys tell, and its rows.

Not here: the folder as a whole (`released.py`), JSON itself (`json_files.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailwag.errors import BadInput

from .json_files import read_counts, read_json, shares_of
from .points import ACCURACY_COLUMNS, FREQUENCY_COLUMNS, Accuracies, Exclusion, Frequencies

if TYPE_CHECKING:
    import pandas as pd

NAMELESS = "a concept without a name"
_COUNTS_END = "_search_counts.json"
_MODEL_KEY = re.compile(r"backbone(?P<model>.+)_pretrained(?P<pretraining>.+)")


@dataclass(frozen=True)
class CountFile:
    """What the name of a file of counts says.

    Attributes
    ----------
    path
        The file.
    test_set, pretraining
        Whose concepts, counted in what.
    side
        ``image``, ``caption`` or ``joint``.
    threshold
        Of the image tagger; None for captions.
    """

    path: Path
    test_set: str
    pretraining: str
    side: str
    threshold: float | None

    @classmethod
    def named(cls, path: Path) -> CountFile | None:
        """Read the name; None where it is none of a file of counts."""
        if not path.name.endswith(_COUNTS_END):
            return None
        # A test set's name holds no underscore; a pretraining set's may.
        test_set, _, rest = path.name.removesuffix(_COUNTS_END).partition("_")
        for side, pattern in layout()["searches"].items():
            search = re.escape(pattern).replace(re.escape("{threshold}"), r"(?P<threshold>[0-9.]+)")
            match = re.fullmatch(f"(?P<pretraining>.+)_{search}", rest)
            if match:
                threshold = match.groupdict().get("threshold")
                return cls(path, test_set, match["pretraining"], side, None if threshold is None else float(threshold))
        return None

    def read(self) -> tuple[list[tuple[Any, ...]], list[Exclusion]]:
        """Give its rows, with the columns of `Frequencies`, and what is left out of them.

        Raises
        ------
        BadInput
            When a name stands twice, it is no JSON, or a count is no whole number from 0.
        """
        rows, exclusions, nan = [], [], float("nan")
        size = float(layout()["rows"].get(self.pretraining, "nan"))
        for concept, count in read_counts(self.path).items():
            if not concept.strip():
                exclusions.append(Exclusion(self.path.name, concept, NAMELESS, f"count {count}"))
                continue
            rows.append((self.pretraining, self.side, self.test_set, concept, float(count), size, nan, nan, nan, ""))
        return rows, exclusions


@dataclass(frozen=True)
class EvaluationFile:
    """What the name of a file of evaluations says.

    Attributes
    ----------
    path
        The file.
    test_set, task, prompts
        What was evaluated, ``classification`` or ``retrieval``, with which prompts or direction and depth.
    """

    path: Path
    test_set: str
    task: str
    prompts: str

    @classmethod
    def named(cls, path: Path) -> EvaluationFile | None:
        """Read the name; None where it is none of a file of evaluations."""
        for task, own in layout()["tasks"].items():
            for prompts in own["prompts"]:
                end = own["file"].format(set="", prompts=prompts)
                test_set = path.name.removesuffix(end)
                if path.name.endswith(end) and test_set and "_" not in test_set:
                    return cls(path, test_set, task, prompts)
        return None

    @property
    def metric(self) -> str:
        """What is measured, in words."""
        if self.task == "classification":
            return "accuracy"
        direction, _, depth = self.prompts.partition("_k=")
        return f"{'text-to-image' if direction == 't2i' else 'image-to-text'} recall@{depth}"

    @property
    def unit(self) -> str:
        """``percent`` or ``fraction``."""
        return layout()["tasks"][self.task]["values"]

    def read(self, model: str, pretraining: str) -> tuple[list[tuple[Any, ...]], list[Exclusion]]:
        """Give a model's rows, with the columns of `Accuracies`, and what is left out of them.

        Raises
        ------
        BadInput
            When the entry has another form, or a value outside its unit's range.
        """
        key = layout()["tasks"][self.task]["key"]
        rows, exclusions = [], []
        for concept, share in self._shares(models_in(self.path)[model, pretraining], key).items():
            if concept.strip():
                rows.append((model, pretraining, self.test_set, concept, self.metric, share, float("nan")))
            else:
                exclusions.append(Exclusion(self.path.name, concept, NAMELESS))
        return rows, exclusions

    def read_whole(self) -> Iterator[tuple[Any, ...]]:
        """Give each model's value over the whole test set, as a row with the concept ``""``; raises as `read` does."""
        for (model, pretraining), entry in models_in(self.path).items():
            if not isinstance(entry, dict) or "full" not in entry:
                raise BadInput(f"{self.path}: {model}/{pretraining} has no value 'full'")
            (share,) = shares_of({"full": entry["full"]}, self.unit, self.path).values()
            yield (model, pretraining, self.test_set, "", self.metric, share, float("nan"))

    def _shares(self, entry: Any, key: str) -> dict[str, float]:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), dict):
            raise BadInput(f"{self.path}: a model's entry has no object {key!r}")
        return shares_of(entry[key], self.unit, self.path)


def models_in(path: Path) -> dict[tuple[str, str], Any]:
    """Give a file's entries by model and pretraining set; its keys are read whole.

    Raises
    ------
    BadInput
        When a key is not of the form ``backbone…_pretrained…``.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no object of models")
    found = {}
    for key, entry in content.items():
        match = _MODEL_KEY.fullmatch(key)
        if match is None:
            raise BadInput(f"{path}: the model key {key!r} is not of the form backbone…_pretrained…")
        found[match["model"], match["pretraining"]] = entry
    return found


def accuracies_of_file(path: Path, values: str | None = None) -> Accuracies:
    """Read every model of one file of evaluations, by its name.

    Raises
    ------
    BadInput
        When the name is none of the release's, or `values` declares another unit than the release has there.
    """
    evaluation = EvaluationFile.named(path)
    if evaluation is None:
        raise BadInput(f"{path} is not named as the release names evaluations, such as cub_class_results.json")
    if values not in (None, evaluation.unit):
        raise BadInput(f"{path}: the release has {evaluation.unit} there: leave --values {values} out")
    rows, exclusions = [], []
    for model, pretraining in models_in(path):
        own, left_out = evaluation.read(model, pretraining)
        rows += own
        exclusions += left_out
    return Accuracies(as_table(rows, ACCURACY_COLUMNS), tuple(dict.fromkeys(exclusions)))


def frequencies_of_file(path: Path) -> Frequencies:
    """Read one file of counts, by its name.

    Raises
    ------
    BadInput
        When the name is none of the release's.
    """
    counted = CountFile.named(path)
    if counted is None:
        raise BadInput(f"{path} is not named as the release names counts, such as cub_cc3m_rampp0.7_search_counts.json")
    rows, exclusions = counted.read()
    return Frequencies(as_table(rows, FREQUENCY_COLUMNS), tuple(exclusions))


def as_table(rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Make a frame of rows."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))


@lru_cache(maxsize=1)
def layout() -> dict[str, Any]:
    """Give the release's layout, ``configs/release.toml``."""
    return tomllib.loads(resources.files("tailwag.configs").joinpath("release.toml").read_text("utf-8"))
