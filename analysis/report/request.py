"""What `tailwag fit` was asked, resolved and complete: enough to read the same files and run the same fits again.

Not here: the fits (`study.py`), how files are read (`inputs`).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound
from tailwag.version import __version__

from ..inputs.points import Points

Frame = Any  # pandas' own types do not say what indexing gives
CONFIGURATION = "configuration.json"
_PACKAGES = ("numpy", "scipy", "statsmodels", "pandas", "matplotlib", "plotly")


@dataclass(frozen=True)
class FitRequest:
    """One analysis, as it is asked for.

    Attributes
    ----------
    counts, accuracies
        Files of counts and accuracies.
    paper
        The folder of the paper's release, in place of both.
    pretraining
        The pretraining set; of files None takes the one there is.
    models
        Those wanted; empty takes all.
    side
        ``image``, ``caption`` or ``joint``; None takes what the counts are of (joint of the release).
    task
        ``classification`` or ``retrieval`` of the release.
    metric
        Of files with several; None takes the one there is.
    values
        How the accuracies' files write shares: ``fraction`` or ``percent``.
    threshold
        Of the release's image tagger.
    similarity
        A file with a similarity a concept, whose part in the correlation is taken out.
    corpus, database
        Saved counts of a database, in place of files of counts.
    procedure
        Which published procedure; ``auto`` takes the pretraining set's.
    count_repeated
        Whether test sets that repeat another's counts are counted everywhere.
    level, replicates, seed
        Of intervals and resampling.
    every
        Whether every pretraining set of the release is wanted, in one table.
    """

    counts: tuple[str, ...] = ()
    accuracies: tuple[str, ...] = ()
    paper: str | None = None
    pretraining: str | None = None
    models: tuple[str, ...] = ()
    side: str | None = None
    task: str = "classification"
    metric: str | None = None
    values: str = "fraction"
    threshold: float = 0.7
    similarity: str | None = None
    corpus: str | None = None
    database: str | None = None
    procedure: str = "auto"
    count_repeated: bool = False
    level: float = 0.95
    replicates: int = 2000
    seed: int = 0
    every: bool = False

    def command(self) -> str:
        """Give the command line that asks for it."""
        words = ["tailwag", "fit"]
        default = FitRequest()
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(default, field.name):
                continue
            option = "--" + _OPTIONS.get(field.name, field.name).replace("_", "-")
            if value is True:
                words.append(option)
                continue
            for each in value if isinstance(value, tuple) else (value,):
                words += [option, str(each)]
        return shlex.join(words)

    def configuration(self) -> dict[str, Any]:
        """Give everything that was resolved, digests of the files and versions, as what JSON can hold."""
        return {
            "command": self.command(),
            "request": asdict(self),
            "inputs": [{"path": path, "sha256": digest(Path(path))} for path in self._paths()],
            "tailwag": __version__,
            "packages": {name: _installed(name) for name in _PACKAGES},
        }

    def _paths(self) -> list[str]:
        named = [*self.counts, *self.accuracies, self.paper, self.similarity]
        return [path for path in named if path is not None]


_OPTIONS = {"models": "model", "database": "db", "every": "all"}


def load_request(path: str | Path) -> FitRequest:
    """Read the request of a report's ``configuration.json`` back.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is none.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"there is no configuration {path}")
    try:
        told = json.loads(path.read_text("utf-8"))["request"]
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        return FitRequest(**given)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is no {CONFIGURATION} of a `tailwag fit` report ({error})") from error


def read_points(request: FitRequest) -> Points:
    """Read what was asked for and join it by name, narrowed to one pretraining set, side and metric.

    Raises
    ------
    NotFound, BadInput
        As the readers of `inputs` do; and where a choice is left open: names the choices.
    """
    from ..inputs import join

    if request.paper is not None:
        return _read_release(request)
    from ...embed.database import Database
    from ..inputs.count_tables import Choice, saved_frequencies
    from ..inputs.reading import read_accuracies, read_frequencies

    values: Any = request.values
    choice = Choice(pretraining=request.pretraining, side=request.side)
    accuracies = read_accuracies(request.accuracies, values=values)
    if request.corpus is None:
        frequencies = read_frequencies(request.counts, choice=choice)
    else:
        frequencies = saved_frequencies(Database(request.database or ""), request.corpus, choice=choice)
    return narrow(join(accuracies, frequencies), request)


def _read_release(request: FitRequest) -> Points:
    from ..inputs import Release, join

    assert request.paper is not None
    release = Release(request.paper)
    if request.pretraining is None:
        raise BadInput(f"choose a pretraining set with --pretraining: {', '.join(release.pretrainings())}")
    task: Any = request.task
    return join(
        release.accuracies(request.pretraining, request.models or None, task=task),
        release.frequencies(request.pretraining, request.side or "joint", request.threshold, task=task),
    )


def read_other_thresholds(request: FitRequest) -> dict[float, Points]:
    """Read the same points counted at every threshold of the release's image search; nothing where there is but one.

    Raises
    ------
    NotFound, BadInput
        As the readers of `inputs` do.
    """
    from ..inputs import Release

    if request.paper is None or request.pretraining is None:
        return {}
    thresholds = Release(request.paper).thresholds(request.pretraining, request.side or "joint")
    if len(thresholds) < 2 or request.task != "classification":
        return {}
    return {each: _read_release(replace(request, threshold=each)) for each in thresholds}


def narrow(points: Points, request: FitRequest) -> Points:
    """Keep what was chosen, and refuse what is left open.

    Raises
    ------
    NotFound
        When what was chosen is not there.
    BadInput
        When there are several and none was chosen.
    """
    table: Frame = points.table
    for option, column, wanted in (
        ("--pretraining", "pretraining", request.pretraining),
        ("--side", "side", request.side),
        ("--metric", "metric", request.metric),
    ):
        there = list(dict.fromkeys(table[column]))
        if wanted is None:
            if len(there) > 1:
                raise BadInput(f"there is more than one {column}: choose with {option}: {', '.join(map(str, there))}")
            continue
        if wanted not in there:
            raise NotFound(f"no point has the {column} {wanted!r}; there is {', '.join(map(repr, there))}")
        table = table[table[column] == wanted]
    if request.models:
        there = list(dict.fromkeys(table["model"]))
        for model in request.models:
            if model not in there:
                raise NotFound(f"no point is of the model {model!r}; there is {', '.join(map(repr, there))}")
        table = table[table["model"].isin(request.models)]
    return Points(table.reset_index(drop=True), points.exclusions)


def digest(path: Path) -> str:
    """Give the SHA-256 of a file; of a folder, that of the names and digests of the JSON files in it."""
    if path.is_dir():
        whole = hashlib.sha256()
        for each in sorted(path.rglob("*.json")):
            whole.update(f"{each.relative_to(path).as_posix()} {digest(each)}\n".encode())
        return whole.hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
