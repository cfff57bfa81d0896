"""Reading one webdataset tar, as img2dataset writes it: neighbours with one stem are one sample.

Every sample comes out as a `Sample` or as a `Failure` with its reason; a tar that is empty or cut says so itself.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection, Iterator
from typing import Any

from .decoding import IMAGE_SUFFIXES, MAX_FILE_BYTES
from .failures import Failure, Reason
from .sources import Found, Sample, Shard, printable
from .storage import Location

_ZERO_BLOCK = bytes(tarfile.BLOCKSIZE)
# The fields that name a label, the one made for people first.
_LABEL_FIELDS = ("label_name", "label", "cls")
_TEXT_SUFFIXES = ("txt", "json", "cls")

# A sample's members by suffix: bytes, the size of what is too large to be read, None for a link that leads to no file.
_Members = dict[str, bytes | int | None]


def read_tar(shard: Shard) -> Iterator[Found]:
    """Read a tar's samples in its order.

    Parameters
    ----------
    shard
        A tar shard.

    Yields
    ------
    Sample or Failure
        One for every group of members with one key. After those, at most one failure of the shard itself, under the
        shard's name: empty, or cut (its end marker, a header or a member's bytes are missing).
    """
    seen: set[str] = set()
    groups = _groups(shard.location)
    while True:
        try:
            stem, members = next(groups)
        except StopIteration:
            break
        except _BreaksOff as end:
            # The sample in whose midst the archive ends may lack a member, so it does not become a row.
            key = printable(f"{shard.name}/{end.stem}") if end.stem is not None else shard.name
            empty = end.stem is None and not seen
            yield Failure(key, shard.name, Reason.EMPTY_SHARD if empty else Reason.TRUNCATED_SHARD, str(end))
            return
        key = f"{shard.name}/{stem}"
        if printable(key) != key:
            seen.add(stem)
            yield Failure(printable(key), shard.name, Reason.KEY_NOT_UTF8, "the member's name is not UTF-8")
            continue
        if stem in seen:
            yield Failure(key, shard.name, Reason.DUPLICATE_KEY, "the same key came before in this shard")
            continue
        seen.add(stem)
        yield _sample(key, shard.name, members)
    if not seen:
        yield Failure(shard.name, shard.name, Reason.EMPTY_SHARD, f"no samples in {shard.size:,} bytes")


def read_tar_images(path: Location, stems: Collection[str]) -> dict[str, bytes]:
    """Read only the pictures of some samples; stems that are not there are left out."""
    wanted = set(stems)
    found: dict[str, bytes] = {}
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member, content in _contents(tar):
            stem, suffix = _split(member.name)
            if stem in wanted and suffix in IMAGE_SUFFIXES and stem not in found and content is not None:
                picture = tar.extractfile(content)
                if picture is not None and content.size <= MAX_FILE_BYTES:
                    found[stem] = picture.read()
                if len(found) == len(wanted):
                    break
    return found


class _BreaksOff(Exception):
    """The archive ends before its end; `stem` is the sample that was being read."""

    def __init__(self, what: str, stem: str | None) -> None:
        super().__init__(what)
        self.stem = stem


def _contents(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """Yield each member that may belong to a sample, and the one that holds its bytes.

    That is another one for a hard link to what came before, and None for other links and for devices: tarfile would
    look for their targets in the whole archive, past where it may break off.
    """
    holders: dict[str, tarfile.TarInfo | None] = {}
    for member in tar:
        # Folders are no samples; macOS writes a file of its own beside each (._x).
        if member.isdir() or member.name.rpartition("/")[2].startswith("._"):
            continue
        holder = holders.get(member.linkname) if member.islnk() else member if member.isfile() else None
        holders[member.name] = holder
        yield member, holder


def _groups(path: Location) -> Iterator[tuple[str, _Members]]:
    """Yield (stem, {suffix: bytes}) for each run of members with one stem."""
    stem: str | None = None
    members: _Members = {}
    try:
        with path.open("rb") as whole, tarfile.open(fileobj=whole, mode="r:") as tar:
            for member, content in _contents(tar):
                name, suffix = _split(member.name)
                # A suffix that comes twice under one stem is a second sample with the same key.
                if stem is not None and (name != stem or suffix in members):
                    yield stem, members
                    members = {}
                stem = name
                file = tar.extractfile(content) if content is not None and content.size <= MAX_FILE_BYTES else None
                members[suffix] = file.read() if file is not None else content.size if content is not None else None
            # tarfile takes a missing end marker and a damaged header for the end; both mean that something is missing.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != _ZERO_BLOCK:
                raise _BreaksOff(f"the archive breaks off or is damaged at byte {tar.offset:,}", stem)
    except (tarfile.TarError, EOFError) as error:
        raise _BreaksOff(f"the archive breaks off: {error}", stem) from error
    if stem is not None:
        yield stem, members


def _split(name: str) -> tuple[str, str]:
    """Split a member's name as webdataset does: the suffix begins at the first dot of the last part."""
    folder, _, file = name.removeprefix("./").rpartition("/")
    stem, _, suffix = file.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()


def _sample(key: str, shard: str, members: _Members) -> Found:
    def fail(reason: Reason, detail: str) -> Failure:
        return Failure(key, shard, reason, printable(detail))

    images = [suffix for suffix in members if suffix in IMAGE_SUFFIXES]
    if not images:
        return fail(Reason.NO_IMAGE, f"only {', '.join(members)}")
    if len(images) > 1:
        return fail(Reason.SEVERAL_IMAGES, ", ".join(images))
    image = members[images[0]]
    if image is None:
        return fail(Reason.NO_IMAGE, f"{images[0]}: a link, not a file")
    for suffix in (images[0], *_TEXT_SUFFIXES):
        member = members.get(suffix, b"")
        if member is None:
            return fail(Reason.CANNOT_BE_READ, f"{suffix}: a link, not a file")
        if isinstance(member, int):
            return fail(Reason.FILE_TOO_LARGE, f"{suffix}: {member:,} bytes, the limit is {MAX_FILE_BYTES:,}")
    assert isinstance(image, bytes)
    try:
        metadata = _metadata(members.get("json"))
    except (ValueError, RecursionError) as error:
        return fail(Reason.METADATA_NOT_JSON, str(error)[:200])
    try:
        caption = _text(members["txt"]) if "txt" in members else str(metadata.get("caption") or "")
        label = next((str(metadata[name]) for name in _LABEL_FIELDS if metadata.get(name) is not None), None)
        if label is None and "cls" in members:
            label = _text(members["cls"]).strip()
        url = str(metadata.get("url") or "")
        # JSON can hold halves of characters (a lone surrogate), which no table stores.
        "".join((caption, label or "", url)).encode("utf-8")
    except UnicodeError as error:
        return fail(Reason.CAPTION_NOT_UTF8, str(error)[:200])
    return Sample(key, image, caption, url, label)


def _text(member: bytes | int | None) -> str:
    return member.decode("utf-8") if isinstance(member, bytes) else ""


def _metadata(member: bytes | int | None) -> dict[str, Any]:
    if not isinstance(member, bytes):
        return {}
    parsed = json.loads(member.decode("utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError(f"expected an object, found {type(parsed).__name__}")
    return parsed
