"""Reading parquet files that hold pictures: those of the Hugging Face hub, and what img2dataset writes as parquet.

A column of pictures is a struct of ``bytes`` and ``path``, or binary; labels are numbers whose names the schema has.
Every row comes out as a `Sample` or as a `Failure` with its reason. Not here: vectors in parquet (`imports/`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tailwag.errors import BadInput

from .decoding import IMAGE_SUFFIXES, MAX_FILE_BYTES
from .failures import Failure, Reason
from .sources import Found, Sample, Shard, printable, require_printable
from .storage import Location

# The first that is there is taken.
_IMAGE_COLUMNS = ("image", "img", *IMAGE_SUFFIXES)
_KEY_COLUMNS = ("key", "__key__")
_CAPTION_COLUMNS = ("caption", "text", "TEXT", "txt")
_LABEL_COLUMNS = ("label_name", "label", "cls")
_BATCH_ROWS = 32  # pictures are large: a batch of them is what is in memory at a time
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class PictureColumns:
    """Which columns of a parquet file are read, and how.

    Attributes
    ----------
    image
        The pictures: a struct of ``bytes`` and ``path``, or binary.
    key
        Texts that are unique in the file; None where the row's number takes their place.
    caption, url, label
        None where there is none. A caption may be a list of several, of which the first is taken.
    label_names
        Of a label that is a number; empty where it is not.
    """

    image: str
    key: str | None
    caption: str | None
    url: str | None
    label: str | None
    label_names: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [name for name in (self.image, self.key, self.caption, self.url, self.label) if name is not None]


def find_picture_columns(schema: Any) -> PictureColumns | None:
    """Find the columns of pictures, captions and labels.

    Parameters
    ----------
    schema
        A `pyarrow.Schema`, with the hub's description of the features in its metadata or without.

    Returns
    -------
    PictureColumns or None
        None when there are no pictures, or several columns of them and none is called ``image``.
    """
    features = _features(schema)
    pictures = [name for name in schema.names if _holds_pictures(schema.field(name), features.get(name, {}))]
    image = next((name for name in _IMAGE_COLUMNS if name in pictures), pictures[0] if len(pictures) == 1 else None)
    if image is None:
        return None

    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in schema.names and name not in pictures), None)

    classes = [name for name, feature in features.items() if _is_class(feature) and name in schema.names]
    label = first(_LABEL_COLUMNS) or (classes[0] if classes else None)
    names = features.get(label, {}).get("names", ()) if label is not None else ()
    if isinstance(names, dict):  # older files: {"0": "cat"}
        names = [names[number] for number in sorted(names, key=int)]
    return PictureColumns(
        image, first(_KEY_COLUMNS), first(_CAPTION_COLUMNS), first(("url", "URL")), label, tuple(map(str, names))
    )


def parquet_shards(paths: Collection[Location]) -> list[Shard]:
    """Name parquet files as shards, as tar files are named: the folder's name and the file's stem.

    The hub keeps a set's files in a folder ``data``, which says nothing: then the folder above it gives the name.

    Raises
    ------
    BadInput
        When a file cannot be read or holds no pictures, two would have the same name, or a path is not UTF-8.
    """
    named: dict[str, Shard] = {}
    for path in paths:
        require_printable(path)
        folder = path.parent.parent if path.parent.name == "data" and path.parent.parent.name else path.parent
        name = f"{folder.name}/{path.stem}"
        if name in named:
            raise BadInput(
                f"{named[name].location} and {path} would both be shard {name!r}: embed them into separate corpora, or "
                "rename a folder"
            )
        try:
            with _opened(path) as file:
                schema, rows = file.schema_arrow, file.metadata.num_rows
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from error
        if find_picture_columns(schema) is None:
            raise BadInput(
                f"{path} holds no column of pictures, or several and none called 'image', only "
                f"{', '.join(schema.names)}: a column of pictures is a struct of bytes and path, or binary"
            )
        named[name] = Shard(name, path, path.stat().st_size, expected=rows)
    return list(named.values())


def read_image_parquet(shard: Shard) -> Iterator[Found]:
    """Read a parquet file's rows in its order.

    Parameters
    ----------
    shard
        From `parquet_shards`.

    Yields
    ------
    Sample or Failure
        One for every row. After those, at most one failure of the shard itself, under the shard's name: it is empty, or
        damaged.

    Raises
    ------
    OSError, TailwagError
        When the file cannot be read, whatever it holds: the next time it may be.
    """
    seen: set[str] = set()
    row = 0
    try:
        with _opened(shard.location) as file:
            columns = find_picture_columns(file.schema_arrow)
            if columns is None:
                raise _Damaged(f"{shard.location} holds no column of pictures any more")
            for record in _rows(file, columns.names, shard.location):
                own = _own_key(record, columns, row)
                row += 1
                key = f"{shard.name}/{own}"
                if own in seen:
                    yield Failure(printable(key), shard.name, Reason.DUPLICATE_KEY, "the key came before in this shard")
                    continue
                seen.add(own)
                yield _found(key, shard, record, columns)
    except _Damaged as error:
        detail = f"it breaks off or is damaged after row {row:,}: {_first_line(error.__cause__ or error)}"
        yield Failure(shard.name, shard.name, Reason.TRUNCATED_SHARD, printable(detail))
        return
    if not row:
        yield Failure(shard.name, shard.name, Reason.EMPTY_SHARD, f"no rows in {shard.size:,} bytes")


def read_parquet_images(path: Location, keys: Collection[str]) -> dict[str, bytes]:
    """Read only the pictures of some rows, by their keys in the file; those that are not there are left out.

    Raises
    ------
    BadInput
        When the file is damaged.
    OSError, TailwagError
        When it cannot be read, whatever it holds.
    """
    wanted, found = set(keys), {}
    with _opened(path) as file:
        columns = find_picture_columns(file.schema_arrow)
        if columns is None:
            return {}
        names = [name for name in (columns.image, columns.key) if name is not None]
        for row, record in enumerate(_rows(file, names, path)):
            own = _own_key(record, columns, row)
            if own in wanted and own not in found:
                picture = _picture(path, record[columns.image])
                if isinstance(picture, bytes):
                    found[own] = picture
                if len(found) == len(wanted):
                    break
    return found


def _features(schema: Any) -> dict[str, Any]:
    """Give what the hub's library wrote of each column; nothing where it wrote nothing that can be read."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: of for name, of in features.items() if isinstance(of, dict)} if isinstance(features, dict) else {}


def _is_class(feature: dict[str, Any]) -> bool:
    return feature.get("_type") == "ClassLabel"


def _holds_pictures(field: Any, feature: dict[str, Any]) -> bool:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_struct(kind):
        parts = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        if not ("bytes" in parts and "path" in parts):
            return False
        is_other = feature.get("_type", "Image") != "Image"  # sound has the same struct
        return _is_binary(parts["bytes"]) and not is_other
    return _is_binary(kind) and field.name in _IMAGE_COLUMNS


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


class _Damaged(BadInput):
    """What the file holds is no parquet, or not as it should be; reading it again would not help."""


@contextmanager
def _damage_told(path: Location) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # pyarrow's own OSError, of a page or a footer that makes no sense, has no number; the system's has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _Damaged(f"{path} cannot be read as parquet ({_first_line(error)}): fetch it again") from error


@contextmanager
def _opened(path: Location) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        with _damage_told(path):
            parquet = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        yield parquet


def _rows(file: Any, names: list[str], path: Location) -> Iterator[dict[str, Any]]:
    batches = file.iter_batches(_BATCH_ROWS, columns=names)
    while True:
        with _damage_told(path):
            batch = next(batches, None)
        if batch is None:
            return
        # Row by row: one text that is not UTF-8 must not take the whole batch with it.
        for number in range(len(batch)):
            yield {name: batch.column(name)[number] for name in batch.schema.names}


def _own_key(record: dict[str, Any], columns: PictureColumns, row: int) -> str:
    """Give a row's own key; its number, of nine digits, where the file gives it none."""
    key = _text(record[columns.key]) if columns.key is not None else None
    return key or f"{row:09d}"


def _found(key: str, shard: Shard, record: dict[str, Any], columns: PictureColumns) -> Found:
    def fail(reason: Reason, detail: str) -> Failure:
        return Failure(printable(key), shard.name, reason, printable(detail))

    if printable(key) != key:
        return fail(Reason.KEY_NOT_UTF8, "the row's key is not UTF-8")
    picture = _picture(shard.location, record[columns.image])
    if not isinstance(picture, bytes):
        return fail(*picture)
    texts = {}
    for column in ("caption", "url", "label"):
        name = getattr(columns, column)
        texts[column] = _text(record[name]) if name is not None else None
        if texts[column] is not None and printable(texts[column]) != texts[column]:
            return fail(Reason.CAPTION_NOT_UTF8, f"the {column} is not UTF-8")
    label = texts["label"]
    if columns.label_names and label is not None:
        number = int(label) if label.lstrip("-").isdigit() else -1
        label = columns.label_names[number] if 0 <= number < len(columns.label_names) else None  # -1 is: not labelled
    return Sample(key, picture, texts["caption"] or "", texts["url"] or "", label)


def _picture(location: Location, value: Any) -> bytes | tuple[Reason, str]:
    """Give a picture's bytes, or why there are none."""
    is_struct = hasattr(value, "keys")
    if is_struct and value.is_valid:
        found, path = value["bytes"].as_py(), _text(value["path"])
    else:
        found, path = None if is_struct else value.as_py(), None
    if not found and path:
        found = _beside(location, path)
        if found is None:
            return Reason.NO_IMAGE, f"the file holds only its path, {path}, and it is not beside it"
    if not found:
        return Reason.NO_IMAGE, "neither bytes nor a path"
    if len(found) > MAX_FILE_BYTES:
        return Reason.FILE_TOO_LARGE, f"{len(found):,} bytes, the limit is {MAX_FILE_BYTES:,}"
    return found


def _beside(location: Location, path: str) -> bytes | None:
    """Read a picture that a row names by its path, only from below the file's own folder on this machine."""
    inner = PurePosixPath(path)
    if not isinstance(location, Path) or inner.is_absolute() or ".." in inner.parts:
        return None
    file = location.parent / inner
    try:
        below = file.resolve().is_relative_to(location.parent.resolve())  # a link may lead anywhere
        return file.read_bytes() if below and file.is_file() and file.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, ValueError):
        return None


def _text(value: Any) -> str | None:
    """Give a value as a text; of a list the first; None for null. What is not UTF-8 stays, for the caller to find."""
    if hasattr(value, "values"):
        if not value.is_valid or not len(value.values):
            return None
        value = value.values[0]
    try:
        found = value.as_py()
    except UnicodeDecodeError:
        found = bytes(value.as_buffer())
    if isinstance(found, bytes):
        return found.decode("utf-8", "surrogateescape")
    return None if found is None else str(found)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
