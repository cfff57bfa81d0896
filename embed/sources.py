"""Where pictures and captions come from, as shards: the same work for a tar file and for a folder of images.

Finding shards and giving them names. Not here: finding them on a store (`store_sources.py`), reading them
(`tar_shards.py` and `image_folders.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from tailwag.errors import BadInput, NotFound, TailwagError

from .braces import GLOB_CHARACTERS, expand_braces
from .decoding import IMAGE_SUFFIXES
from .failures import Failure
from .storage import Location, StorePath, is_remote, read_ends, size_of
from .store_requests import StoreDown
from .store_sources import REQUESTS_AT_ONCE, find_on_store


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
        The tar file, or the folder; a path here or an address elsewhere.
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
    location: Location
    size: int
    files: tuple[str, ...] = field(default=(), repr=False)
    expected: int | None = None
    skip: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def is_tar(self) -> bool:
        """Whether it is a file of many pictures, a tar or a parquet, rather than a part of a folder."""
        return not self.files

    def fingerprint(self) -> str:
        """Recognise the shard again: a digest of its size and both its ends, or of a folder part's list of files.

        On a store the digest is the same, and the store's tag for the content follows it after a blank.
        """
        if not self.is_tar:
            # As os.fsencode, and taking the halves of characters that JSON can hold as well.
            return hashlib.sha256("\n".join(self.files).encode("utf-8", "surrogatepass")).hexdigest()
        ends = read_ends(self.location)
        digest = hashlib.sha256(str(ends.size).encode() + ends.first + ends.last).hexdigest()
        return f"{digest} {ends.etag}".rstrip()

    def is_same_as(self, fingerprint: str) -> bool:
        """Say whether this is the shard of an earlier fingerprint.

        A tag that a listing gave with the name spares reading anything; another tag decides nothing, since the same
        bytes may have been copied or uploaded anew.
        """
        digest, _, tag = fingerprint.partition(" ")
        if tag and isinstance(self.location, StorePath) and self.location.etag == tag:
            return True
        return self.fingerprint().partition(" ")[0] == digest


def printable(text: str) -> str:
    """Give a text that a table can store: what is not UTF-8 in it is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def require_printable(path: Location) -> None:
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


def find_tars(sources: Sequence[str | StorePath]) -> list[Location]:
    """List the tar files that sources name, in order, each once.

    Parameters
    ----------
    sources
        Tar files, folders that hold some (at any depth), brace patterns and globs; the same on a store, by addresses.
        A `StorePath` is a file that was found there.

    Raises
    ------
    NotFound
        When a source names nothing, or tar files of a pattern are not there; the first few are listed.
    BadInput
        For a folder that cannot be listed, and as `store_sources.find_on_store`.
    StoreFailure
        When a store refuses, or does not answer.
    """
    found: list[Location] = []
    missing: list[Location] = []
    for source in sources:
        if isinstance(source, StorePath):
            found.append(source)
            continue
        if is_remote(source):
            on_store = find_on_store(source)
            found.extend(on_store.tars)
            missing.extend(on_store.missing)
            continue
        source = source.removeprefix("file://")
        for pattern in [source] if _exists(source) else expand_braces(source):
            if GLOB_CHARACTERS & set(pattern) and not _exists(pattern):
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
    _refuse_missing(missing)
    return list(dict.fromkeys(_absolute(path) for path in found))


def sort_sources(sources: Sequence[str]) -> tuple[list[Location], list[Location], int]:
    """Tell tar files from folders of images.

    Parameters
    ----------
    sources
        Tar files, folders of them, brace patterns, globs, folders of images, here or on a store.

    Returns
    -------
    tuple[list[Location], list[Location], int]
        The tar files, the folders of images, and how many images lie beside tar files: those are passed over.

    Raises
    ------
    NotFound, BadInput, StoreFailure
        As `find_tars`.
    """
    tar_sources: list[str | StorePath] = []
    roots: dict[Location, Location] = {}
    beside = 0
    missing: list[StorePath] = []
    for source in sources:
        if is_remote(source):
            on_store = find_on_store(source)
            tar_sources += on_store.tars
            roots |= {root: root for root in on_store.roots}
            missing += on_store.missing
            beside += on_store.images_beside
            continue
        for path in _expand(source.removeprefix("file://")):
            if not path.is_dir():
                tar_sources.append(str(path))
                continue
            suffixes = Counter(file.suffix.lower().lstrip(".") for file in path.rglob("*") if file.is_file())
            images = sum(suffixes[suffix] for suffix in IMAGE_SUFFIXES)
            if suffixes["tar"]:
                tar_sources.append(str(path))
                beside += images
            elif suffixes["parquet"] and not images:
                tar_sources += [str(file) for file in walk_files(path, hidden=False) if file.suffix == ".parquet"]
            else:
                roots.setdefault(_absolute(path), path)
    _refuse_missing(missing)
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


def _refuse_missing(missing: Sequence[Location]) -> None:
    if missing:
        listed = ", ".join(str(path) for path in missing[:3]) + (" …" if len(missing) > 3 else "")
        raise NotFound(f"{len(missing)} of the sources do not exist: {listed}")


def _absolute(path: Location) -> Location:
    return path if isinstance(path, StorePath) else Path(os.path.abspath(path))  # noqa: PTH100 (links stay links)


def _exists(path: str | Path) -> bool:
    # Unlike Path.exists, false for a text too long to be a path: a long list in braces.
    return os.path.exists(path)  # noqa: PTH110


def _is_tar(path: Path) -> bool:
    # A link may lead nowhere; macOS writes a file of its own beside each (._x).
    return path.suffix == ".tar" and not path.name.startswith("._") and os.path.isfile(path)  # noqa: PTH113


def tar_shards(paths: Sequence[Location]) -> list[Shard]:
    """Name tar files, and parquet files of pictures, as shards: the folder's name and the file's stem.

    Raises
    ------
    BadInput
        When two would have the same name (their rows could not be told apart), or a path is not UTF-8.
    """
    tables = [path for path in paths if path.suffix == ".parquet"]
    shards = _table_shards(tables) if tables else []
    named: dict[str, Location] = {shard.name: shard.location for shard in shards}
    for path in paths:
        if path.suffix == ".parquet":
            continue
        if path.suffix != ".tar":
            raise BadInput(f"{path} is neither a .tar or .parquet file nor a folder")
        require_printable(path)
        name = f"{path.parent.name}/{path.stem}"
        if name in named:
            raise BadInput(
                f"{named[name]} and {path} would both be shard {name!r}: embed them into separate corpora, or rename a "
                "folder"
            )
        named[name] = path
    tars = {name: path for name, path in named.items() if path.suffix != ".parquet"}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:  # each asks a store once or twice
        return [*pool.map(_tar_shard, tars.keys(), tars.values()), *shards]


def _table_shards(paths: Sequence[Location]) -> list[Shard]:
    from .image_parquet import parquet_shards  # which makes samples, and so needs this module first

    return parquet_shards(paths)


def _tar_shard(name: str, path: Location) -> Shard:
    return Shard(name, path, size_of(path), expected=_expected_samples(path))


def _expected_samples(tar: Location) -> int | None:
    """Read img2dataset's own count of what it wrote, from the statistics beside the tar."""
    try:
        return int(json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text("utf-8"))["successes"])
    except StoreDown:
        raise
    except (OSError, ValueError, KeyError, TypeError, TailwagError):
        return None


def _expand(source: str) -> list[Path]:
    """Give the paths that a source names, whether they exist or not; a path that exists is never read as a pattern."""
    paths: list[Path] = []
    for pattern in [source] if Path(source).exists() else expand_braces(source):
        matches = [] if Path(pattern).exists() else sorted(glob(pattern))  # noqa: PTH207 (patterns may be absolute)
        paths += [Path(match) for match in matches] or [Path(pattern)]
    return paths
