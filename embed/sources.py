"""Where pictures and captions come from, as shards: the same work for a tar file and for a folder of images.

Finding shards and giving them names. Reading them is `tar_shards.py` and `image_folders.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from tailwag.errors import BadInput, NotFound

from .decoding import IMAGE_SUFFIXES
from .failures import Failure

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(frozen=True)
class Sample:
    """One picture with its caption, not yet decoded.

    Attributes
    ----------
    key
        The corpus key: shard and sample key.
    image
        The file's bytes.
    caption
        Empty where there is none.
    url, label
        From the source's metadata; url empty and label None where it says nothing.
    """

    key: str
    image: bytes
    caption: str = ""
    url: str = ""
    label: str | None = None


# What reading a shard gives, in the shard's order: every sample is one or the other.
Found = Sample | Failure


@dataclass(frozen=True)
class Shard:
    """A group of samples that is embedded and committed together.

    Attributes
    ----------
    name
        Unique in the corpus: ``coco/00000`` for ``…/coco/00000.tar``, ``pets#00000`` for a part of a folder.
    location
        The tar file, or the folder.
    files
        For a folder, the pictures of this part, relative to it; empty for a tar.
    size
        Bytes to read.
    expected
        How many samples it should hold, where the source says so.
    skip
        Keys that are rows of the corpus already; their samples are passed over.
    """

    name: str
    location: Path
    size: int
    files: tuple[str, ...] = field(default=(), repr=False)
    expected: int | None = None
    skip: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def is_tar(self) -> bool:
        """Whether it is a tar file, rather than a part of a folder."""
        return not self.files

    def fingerprint(self) -> str:
        """Recognise the shard again: a digest of its size and both its ends, or of a folder part's list of files."""
        if not self.is_tar:
            # As os.fsencode, and taking the halves of characters that JSON can hold as well.
            return hashlib.sha256("\n".join(self.files).encode("utf-8", "surrogatepass")).hexdigest()
        ends = 64 << 10
        digest = hashlib.sha256(str(self.size).encode())
        with self.location.open("rb") as file:
            digest.update(file.read(ends))
            file.seek(max(0, self.size - ends))
            digest.update(file.read(ends))
        return digest.hexdigest()


def printable(text: str) -> str:
    """Give a text that a table can store: what is not UTF-8 in it is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def require_printable(path: Path) -> None:
    """Refuse a source whose path no table can store: keys and the record of where pictures lie are made of it.

    Raises
    ------
    BadInput
        When the path is not UTF-8.
    """
    if printable(str(path)) != str(path):
        raise BadInput(
            f"{printable(str(path))}: the path is not UTF-8, and keys are made of it: rename the folder or file"
        )


def expand_braces(pattern: str) -> list[str]:
    """Expand ``{00000..00331}`` and ``{a,b}`` as a shell does, zeros kept.

    Examples
    --------
    >>> expand_braces("cc3m/{008..010}.tar")
    ['cc3m/008.tar', 'cc3m/009.tar', 'cc3m/010.tar']
    """
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
        first, last = numbers.groups()
        padded = any(len(number) > 1 and number.startswith("0") for number in (first, last))
        width = max(len(first), len(last)) if padded else 0
        step = 1 if int(first) <= int(last) else -1
        choices = [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]
    else:
        choices = match[1].split(",")
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [expanded for choice in choices for expanded in expand_braces(head + choice + tail)]


def find_tars(sources: Sequence[str]) -> list[Path]:
    """List the tar files that sources name, in order, each once.

    Parameters
    ----------
    sources
        Tar files, folders that hold some (at any depth), brace patterns and globs.

    Raises
    ------
    NotFound
        When a source names nothing, or tar files of a pattern are not there; the first few are listed.
    BadInput
        For an address that is not on this machine, and for a folder that cannot be listed.
    """
    found: list[Path] = []
    missing: list[Path] = []
    for source in sources:
        if "://" in source:
            raise BadInput(f"{source} is not on this machine: shards are read from folders; copy or mount them first")
        for pattern in [source] if _exists(source) else expand_braces(source):
            if _GLOB_CHARACTERS & set(pattern) and not _exists(pattern):
                paths = sorted(Path(path) for path in glob(pattern))  # noqa: PTH207 (patterns may be absolute)
                if not paths:
                    raise NotFound(f"no file matches {pattern}")
            else:
                paths = [Path(pattern)]
            for path in paths:
                if _exists(path) and path.is_dir():
                    found.extend(sorted(file for file in walk_files(path, hidden=True) if _is_tar(file)))
                elif _exists(path) and path.is_file():
                    found.append(path)
                else:
                    missing.append(path)
    if missing:
        listed = ", ".join(str(path) for path in missing[:3]) + (" …" if len(missing) > 3 else "")
        raise NotFound(f"{len(missing)} of the sources do not exist: {listed}")
    return list(dict.fromkeys(Path(os.path.abspath(path)) for path in found))  # noqa: PTH100 (links stay links)


def sort_sources(sources: Sequence[str]) -> tuple[list[Path], list[Path], int]:
    """Tell tar files from folders of images.

    Parameters
    ----------
    sources
        Tar files, folders of them, brace patterns, globs, folders of images.

    Returns
    -------
    tuple[list[Path], list[Path], int]
        The tar files, the folders of images, and how many images lie beside tar files: those are passed over.

    Raises
    ------
    NotFound, BadInput
        As `find_tars`.
    """
    tar_sources: list[str] = []
    roots: dict[str, Path] = {}
    beside = 0
    for source in sources:
        for path in _expand(source):
            if not path.is_dir():
                tar_sources.append(str(path))
                continue
            suffixes = Counter(file.suffix.lower().lstrip(".") for file in path.rglob("*") if file.is_file())
            images = sum(suffixes[suffix] for suffix in IMAGE_SUFFIXES)
            if suffixes["tar"]:
                tar_sources.append(str(path))
                beside += images
            else:
                roots.setdefault(os.path.abspath(path), path)  # noqa: PTH100 (links stay links)
    return find_tars(tar_sources), list(roots.values()), beside


def walk_files(root: Path, hidden: bool) -> Iterator[Path]:
    """List the files of a folder and its sub-folders, each folder's sorted; links to folders are not followed.

    Parameters
    ----------
    root
        The folder.
    hidden
        Whether to list hidden files and folders too.

    Raises
    ------
    BadInput
        For a folder that cannot be listed: what it holds would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise BadInput(f"{error.filename} cannot be read ({error.strerror}): allow it or move it away") from error

    for folder, below, files in os.walk(root, onerror=refuse):
        below[:] = sorted(name for name in below if hidden or not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if hidden or not name.startswith("."))


def _exists(path: str | Path) -> bool:
    # Unlike Path.exists, false for a text too long to be a path: a long list in braces.
    return os.path.exists(path)  # noqa: PTH110


def _is_tar(path: Path) -> bool:
    # A link may lead nowhere; macOS writes a file of its own beside each (._x).
    return path.suffix == ".tar" and not path.name.startswith("._") and os.path.isfile(path)  # noqa: PTH113


def tar_shards(paths: Sequence[Path]) -> list[Shard]:
    """Name tar files as shards: the folder's name and the file's stem.

    Raises
    ------
    BadInput
        When two would have the same name (their rows could not be told apart), or a path is not UTF-8.
    """
    shards: dict[str, Shard] = {}
    for path in paths:
        if path.suffix != ".tar":
            raise BadInput(f"{path} is neither a .tar file nor a folder")
        require_printable(path)
        name = f"{path.parent.name}/{path.stem}"
        if name in shards:
            raise BadInput(
                f"{shards[name].location} and {path} would both be shard {name!r}: embed them into separate corpora, "
                "or rename a folder"
            )
        shards[name] = Shard(name, path, path.stat().st_size, expected=_expected_samples(path))
    return list(shards.values())


def _expected_samples(tar: Path) -> int | None:
    """Read img2dataset's own count of what it wrote, from the statistics beside the tar."""
    try:
        return int(json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text("utf-8"))["successes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _expand(source: str) -> list[Path]:
    """Give the paths that a source names, whether they exist or not; a path that exists is never read as a pattern."""
    if "://" in source:
        return find_tars([source])  # which says that it is not on this machine
    paths: list[Path] = []
    for pattern in [source] if Path(source).exists() else expand_braces(source):
        matches = [] if Path(pattern).exists() else sorted(glob(pattern))  # noqa: PTH207 (patterns may be absolute)
        paths += [Path(match) for match in matches] or [Path(pattern)]
    return paths
