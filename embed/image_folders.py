"""Reading a folder of images: the label is the sub-folder; the caption a text file of the same name, or a CSV or JSONL.

The folder may be a prefix on a store; its files are then read many at a time. Not here: tar shards (`tar_shards.py`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound

from .decoding import IMAGE_SUFFIXES, MAX_FILE_BYTES
from .failures import Failure, Reason
from .sources import Found, Sample, Shard, printable, require_printable, walk_files
from .storage import Location, StorePath, size_of
from .store_sources import REQUESTS_AT_ONCE

# Small enough to commit often, large enough that a commit costs nothing beside the encoding.
FILES_PER_SHARD = 1000
_FILE_COLUMNS = ("file_name", "file", "filename", "image", "path")
_CAPTION_COLUMNS = ("caption", "text")
# Tables of these names are meant as captions whatever their columns.
_CAPTION_TABLES = ("captions", "metadata")


class ImageFolder:
    """A folder of images, listed once.

    Attributes
    ----------
    root
        The folder, or the prefix.
    name
        Its own name, with which its keys begin: ``pets/cats/tom.jpg``.
    files
        Every picture, and every caption without one, as a sorted path relative to the root.
    """

    def __init__(self, root: Location) -> None:
        # Links stay links.
        self.root = root if isinstance(root, StorePath) else Path(os.path.abspath(root))  # noqa: PTH100
        self.name = self.root.name
        if not self.name:
            raise BadInput(f"{root} has no name to begin its keys with: name a folder below it")
        require_printable(self.root)
        listed = _list_files(self.root)
        self._captions = _captions_of_tables(listed)
        self._texts: dict[str, Location] = {}
        self._pictures: dict[str, Location] = {}
        texts = set()
        for relative, path in listed.items():
            suffix = path.suffix.lower().lstrip(".")
            if suffix in IMAGE_SUFFIXES:
                self._pictures[relative] = path
            elif suffix == "txt":
                texts.add(relative)
                self._texts[_without_suffix(relative)] = path
        with_picture = {_without_suffix(picture) for picture in self._pictures}
        lonely = {text for text in texts if _without_suffix(text) not in with_picture}
        self.files = tuple(sorted({*self._pictures, *lonely, *self._captions}))
        if not self._pictures:
            raise NotFound(f"{root} holds neither .tar shards nor images ({', '.join(IMAGE_SUFFIXES)})")

    def shards(self, done: Collection[str], first: int) -> list[Shard]:
        """Cut the files that are not yet in the corpus into shards.

        Parameters
        ----------
        done
            Corpus keys that are rows or failures already.
        first
            Number of the first new shard.
        """
        rest = [file for file in self.files if printable(f"{self.name}/{file}") not in done]
        parts = [tuple(rest[start : start + FILES_PER_SHARD]) for start in range(0, len(rest), FILES_PER_SHARD)]
        return [
            Shard(
                f"{self.name}#{first + number:05d}",
                self.root,
                sum(_size(self._pictures.get(file, self.root / file)) for file in part),
                part,
                len(part),
            )
            for number, part in enumerate(parts)
        ]

    def read(self, shard: Shard) -> Iterator[Found]:
        """Read a part's samples: a `Sample` or a `Failure` for each of its files."""
        if not isinstance(self.root, StorePath):
            for file in shard.files:
                yield self._read(f"{self.name}/{file}", shard.name, file)
            return
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            ahead: deque[Future[Found]] = deque()
            try:
                for file in shard.files:
                    ahead.append(pool.submit(self._read, f"{self.name}/{file}", shard.name, file))
                    if len(ahead) > REQUESTS_AT_ONCE:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, key: str, shard: str, file: str) -> Found:
        path, text = self._pictures.get(file), self._texts.get(_without_suffix(file))
        if printable(key) != key:
            return Failure(printable(key), shard, Reason.KEY_NOT_UTF8, "the file's name is not UTF-8")
        if path is None and (file.lower().endswith(".txt") or not _is_file(self.root / file)):
            return Failure(key, shard, Reason.NO_IMAGE, "a caption without an image")
        try:
            path = path if path is not None else self.root / file
            if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                return Failure(key, shard, Reason.CANNOT_BE_READ, "not a regular file")
            if (size := size_of(path)) > MAX_FILE_BYTES:
                return Failure(key, shard, Reason.FILE_TOO_LARGE, f"{size:,} bytes")
            caption = self._captions.get(file) or (text.read_text("utf-8").strip() if text else "")
            caption.encode("utf-8")
            image = path.read_bytes()
        except UnicodeError as error:
            return Failure(key, shard, Reason.CAPTION_NOT_UTF8, printable(str(error))[:200])
        except (FileNotFoundError, NotFound):
            return Failure(key, shard, Reason.CANNOT_BE_READ, "its file has gone")
        except OSError as error:
            return Failure(key, shard, Reason.CANNOT_BE_READ, error.strerror or type(error).__name__)
        parent = Path(file).parent.as_posix()
        return Sample(key, image, caption, label=None if parent == "." else parent)


def read_folder_images(root: Location, files: Collection[str]) -> dict[str, bytes]:
    """Read some pictures of a folder; those that are not there any more are left out."""
    return {file: (root / file).read_bytes() for file in files if (root / file).is_file()}


def _list_files(root: Location) -> dict[str, Location]:
    """List what is not hidden, by the path relative to the folder."""
    if not isinstance(root, StorePath):
        return {path.relative_to(root).as_posix(): path for path in walk_files(root, hidden=False)}
    start = len(root.address) + 1
    listed = {path.address[start:]: path for path in root.files()}
    return {name: path for name, path in listed.items() if not any(part.startswith(".") for part in name.split("/"))}


def _is_file(path: Location) -> bool:
    return path.is_file() if isinstance(path, StorePath) else os.path.isfile(path)  # noqa: PTH113 (long names)


def _size(path: Location) -> int:
    """Give a file's size; 0 for what cannot be looked at, which is told where it is read."""
    try:
        return size_of(path)
    except (OSError, ValueError, NotFound):
        return 0


def _without_suffix(file: str) -> str:
    return file.rpartition(".")[0]


def _captions_of_tables(files: Mapping[str, Location]) -> dict[str, str]:
    """Read every CSV and JSONL that lies directly in the folder and names files and captions.

    Others are passed over: a table belongs to the captions if its columns name files and captions, or if it is called
    ``captions`` or ``metadata``; one that cannot be read is an error, since nobody can tell. Of several records for one
    file (a caption each) the first is kept: a row has one caption.
    """
    captions: dict[str, str] = {}
    for name, path in files.items():
        suffix = path.suffix.lower()
        if "/" in name or suffix not in (".csv", ".jsonl"):
            continue
        records: list[Mapping[str, Any]] = []
        try:
            text = path.read_text("utf-8-sig")
            # Not splitlines, which also cuts at characters that JSON may hold as they are.
            lines = (json.loads(line) for line in text.split("\n") if line.strip())
            table = csv.DictReader(io.StringIO(text, newline="")) if suffix == ".csv" else None
            columns = set(table.fieldnames or ()) if table is not None else set()
            if table is not None and not _names_captions(columns, path):
                continue
            for record in table if table is not None else lines:
                if not isinstance(record, dict):
                    raise BadInput(
                        f"{path}, record {len(records) + 1}: expected an object, found {type(record).__name__}: write "
                        f'{{"{_FILE_COLUMNS[0]}": …, "{_CAPTION_COLUMNS[0]}": …}} on each line'
                    )
                records.append(record)
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): mend or remove it") from error
        except (ValueError, RecursionError, csv.Error) as error:
            raise BadInput(
                f"{path}, record {len(records) + 1}: cannot be read as {suffix[1:]} in UTF-8 "
                f"({error}): mend or remove it"
            ) from error
        if table is not None or any(_names_captions(record, path) for record in records):
            for number, record in enumerate(records, start=1):
                file, caption = _file_and_caption(record, f"{path}, record {number}")
                captions.setdefault(file, caption)
    return captions


def _names_captions(columns: Collection[str], path: Location) -> bool:
    """Say whether a table is one of captions, by its columns or by its name."""
    named = any(column in columns for column in _FILE_COLUMNS) and any(column in columns for column in _CAPTION_COLUMNS)
    return named or path.stem.lower() in _CAPTION_TABLES


def _file_and_caption(record: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Take the file, as a path in the folder, and the caption out of a table's record."""
    name = next((record[column] for column in _FILE_COLUMNS if record.get(column)), None)
    caption = next((record[column] for column in _CAPTION_COLUMNS if record.get(column) is not None), None)
    if name is None or caption is None:
        raise BadInput(
            f"{where}: needs a column {_FILE_COLUMNS[0]!r} with the file's path in the "
            f"folder and a column {_CAPTION_COLUMNS[0]!r}"
        )
    if not isinstance(name, str):
        raise BadInput(f"{where}: {name!r} is no path: name the file in quotes")
    file = Path(os.path.normpath(name))
    if file.is_absolute() or file.parts[:1] == ("..",):
        raise BadInput(f"{where}: {name!r} lies outside the folder: name files within it")
    return file.as_posix(), str(caption)
