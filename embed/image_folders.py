"""Reading a folder of images: the label is the sub-folder; the caption a text file of the same name, or a CSV or JSONL.

Not here: tar shards (`tar_shards.py`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tailwag.errors import BadInput, NotFound

from .decoding import IMAGE_SUFFIXES, MAX_FILE_BYTES
from .failures import Failure, Reason
from .sources import Found, Sample, Shard

# Small enough to commit often, large enough that a commit costs nothing beside the encoding.
FILES_PER_SHARD = 1000
_FILE_COLUMNS = ("file_name", "file", "filename", "image", "path")
_CAPTION_COLUMNS = ("caption", "text")


class ImageFolder:
    """A folder of images, listed once.

    Attributes
    ----------
    root
        The folder.
    name
        Its own name, with which its keys begin: ``pets/cats/tom.jpg``.
    files
        Every picture, and every caption without one, as a sorted path relative to the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.name = self.root.name
        self._captions = _captions_of_tables(self.root)
        pictures, texts = set(), set()
        for path in sorted(self.root.rglob("*")):
            suffix = path.suffix.lower().lstrip(".")
            relative = path.relative_to(self.root)
            if any(part.startswith(".") for part in relative.parts) or not path.is_file():
                continue
            if suffix in IMAGE_SUFFIXES:
                pictures.add(relative.as_posix())
            elif suffix == "txt":
                texts.add(relative.as_posix())
        with_picture = {_without_suffix(picture) for picture in pictures}
        lonely = {text for text in texts if _without_suffix(text) not in with_picture}
        self.files = tuple(sorted(pictures | lonely | (set(self._captions) - pictures)))
        if not pictures:
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
        rest = [file for file in self.files if f"{self.name}/{file}" not in done]
        parts = [tuple(rest[start : start + FILES_PER_SHARD]) for start in range(0, len(rest), FILES_PER_SHARD)]
        return [
            Shard(
                f"{self.name}#{first + number:05d}",
                self.root,
                sum((self.root / file).stat().st_size for file in part if (self.root / file).is_file()),
                part,
                len(part),
            )
            for number, part in enumerate(parts)
        ]

    def read(self, shard: Shard) -> Iterator[Found]:
        """Read a part's samples: a `Sample` or a `Failure` for each of its files."""
        for file in shard.files:
            yield self._read(f"{self.name}/{file}", shard.name, file)

    def _read(self, key: str, shard: str, file: str) -> Found:
        path = self.root / file
        if file.endswith(".txt") or not path.is_file():
            return Failure(key, shard, Reason.NO_IMAGE, "a caption without an image")
        if path.stat().st_size > MAX_FILE_BYTES:
            return Failure(key, shard, Reason.FILE_TOO_LARGE, f"{path.stat().st_size:,} bytes")
        text = path.with_suffix(".txt")
        try:
            caption = self._captions.get(file) or (text.read_text("utf-8").strip() if text.is_file() else "")
        except UnicodeDecodeError as error:
            return Failure(key, shard, Reason.CAPTION_NOT_UTF8, str(error)[:200])
        parent = Path(file).parent.as_posix()
        return Sample(key, path.read_bytes(), caption, label=None if parent == "." else parent)


def read_folder_images(root: Path, files: Collection[str]) -> dict[str, bytes]:
    """Read some pictures of a folder; those that are not there any more are left out."""
    return {file: (root / file).read_bytes() for file in files if (root / file).is_file()}


def _without_suffix(file: str) -> str:
    return file.rpartition(".")[0]


def _captions_of_tables(root: Path) -> dict[str, str]:
    """Read every CSV and JSONL that lies directly in the folder and names files and captions."""
    captions: dict[str, str] = {}
    for path in sorted(root.glob("*")):
        if path.suffix not in (".csv", ".jsonl") or not path.is_file():
            continue
        try:
            if path.suffix == ".csv":
                with path.open(encoding="utf-8-sig", newline="") as file:
                    records: list[Mapping[str, str]] = list(csv.DictReader(file))
            else:
                records = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        except ValueError as error:
            raise BadInput(f"{path} cannot be read as {path.suffix[1:]} in UTF-8: {error}") from error
        for number, record in enumerate(records, start=1):
            name = next((record[column] for column in _FILE_COLUMNS if record.get(column)), None)
            caption = next((record[column] for column in _CAPTION_COLUMNS if record.get(column) is not None), None)
            if name is None or caption is None:
                raise BadInput(
                    f"{path}, record {number}: needs a column {_FILE_COLUMNS[0]!r} with the file's path in the "
                    f"folder and a column {_CAPTION_COLUMNS[0]!r}"
                )
            captions[Path(name).as_posix()] = str(caption)
    return captions
