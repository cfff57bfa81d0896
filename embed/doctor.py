"""Is this installation sound, and can this database be written to? One `Check` a question.

Not here: what a corpus holds (`corpus_doctor.py`), counting and indices (`retrieval/doctor_command.py`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from tailwag.errors import TailwagError

from .database import Database, first_line

# Less than this leaves no room for a corpus of a few hundred thousand rows.
LEAST_FREE_BYTES = 1 << 30
_SHOWN_VERSIONS = ("torch", "open_clip_torch", "pylance", "numpy", "pillow")


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes
    ----------
    name
        What was looked at, in a word or two.
    passed
        True, False, or None where it could not be told.
    said
        What was found, and what to do where something is wrong; one line.
    numbers
        What was measured.
    """

    name: str
    passed: bool | None
    said: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Lay it out for a person."""
        mark = {True: "✓", False: "✗", None: "–"}[self.passed]
        return f"{mark} {self.name:<16} {self.said}"

    def as_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return asdict(self)


def check_installation() -> Iterator[Check]:
    """Look at everything that an installation needs, one check after the other."""
    yield check_versions()
    yield check_models()
    yield check_faiss()
    yield check_gpu()


def check_versions(distribution: str = "tailwag") -> Check:
    """Is every package that a distribution asks for there, and new enough?"""
    from packaging.requirements import Requirement

    wrong, fine = [], 0
    for line in metadata.requires(distribution) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed (asked for: {wanted.name}{wanted.specifier})")
            continue
        if wanted.specifier.contains(found, prereleases=True):
            fine += 1
        else:
            wrong.append(f"{wanted.name} is {found} (asked for: {wanted.name}{wanted.specifier})")
    if wrong:
        return Check("versions", False, "; ".join(wrong) + ": pip install --upgrade tailwag, with constraints.txt")
    shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN_VERSIONS)
    return Check("versions", True, f"{fine} packages as {distribution} asks for them: {shown}")


def check_models() -> Check:
    """Do torch, torchvision and open_clip import together?"""
    from . import open_clip_loading

    try:
        open_clip_loading.import_open_clip()
    except Exception as error:  # whatever another's import raises
        said = f"torch {_version('torch')}, torchvision {_version('torchvision')}: {first_line(error)}"
        return Check("models", False, f"{said}; install versions of the two that belong together")
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    mended = open_clip_loading.torchvision_is_mended()
    note = "; torchvision's C++ part belongs to another torch and is done without" if mended else ""
    return Check("models", True, f"torch (built for {built}), torchvision and open_clip import{note}")


def check_faiss() -> Check:
    """Does FAISS import and search, and is there only one of it?"""
    import numpy as np

    both = [name for name in ("faiss-cpu", "faiss-gpu") if _version(name) != "not installed"]
    if len(both) > 1:
        said = "faiss-cpu and faiss-gpu are both installed and overwrite each other: uninstall both, then install one"
        return Check("faiss", False, said)
    try:
        faiss = import_module("faiss")
        index = faiss.IndexFlatIP(4)
        index.add(np.eye(4, dtype=np.float32))  # type: ignore[call-arg]
        nearest = index.search(np.eye(4, dtype=np.float32), 1)[1].ravel().tolist()  # type: ignore[call-arg]
    except Exception as error:  # whatever another's import raises
        return Check(
            "faiss", False, f"{' '.join(both) or 'faiss'} does not work: {first_line(error)}; install it again"
        )
    if nearest != [0, 1, 2, 3]:
        return Check("faiss", False, f"{both[0]} finds wrong neighbours ({nearest}): install it again")
    return Check("faiss", True, f"{' '.join(both) or 'faiss'} {getattr(faiss, '__version__', '')} imports and searches")


def check_gpu(driver: Path = Path("/proc/driver/nvidia/version")) -> Check:
    """Is there a GPU, and does torch see it?"""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        listed = ", ".join(f"{one.name} ({one.total_memory / 1e9:,.0f} GB)" for one in names)
        return Check("gpu", True, listed, {"gpus": len(names)})
    if not driver.exists():
        return Check("gpu", True, "none here: models and counting run on the CPU", {"gpus": 0})
    built = "its CUDA build cannot use it" if torch.version.cuda else "it is built for the CPU"
    said = f"there is an NVIDIA driver, and torch {_version('torch')} sees no GPU ({built}): install torch for CUDA"
    return Check("gpu", False, said, {"gpus": 0})


def check_database(database: Database) -> Iterator[Check]:
    """Can the database be written to, and is there room?"""
    if not database.is_local:
        try:
            there = len(database.tables())
        except (TailwagError, OSError) as error:
            yield Check("database", False, f"{database.uri}: {first_line(error)}")
            return
        yield Check("database", True, f"{database.uri} answers: {there} tables; writing was not tried")
        return
    folder = database.folder.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"tailwag")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield Check("database", False, f"{there} cannot be written to ({reason}): pass another --db")
        return
    made = "" if there == folder else " (not there yet: it will be made)"
    yield Check("database", True, f"{folder} can be written to{made}")
    free = shutil.disk_usage(there).free
    rows = f"room for some {free / 2300 / 1e6:,.0f} million rows of 512 dimensions"
    numbers = {"free_bytes": free}
    if free < LEAST_FREE_BYTES:
        yield Check("disk", False, f"only {free / 1e6:,.0f} MB free: make room, or pass another --db", numbers)
    else:
        yield Check("disk", True, f"{free / 1e9:,.1f} GB free: {rows}", numbers)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
