"""The folders that clip-retrieval's inference writes, and in which LAION-400M's vectors were released.

``img_emb/img_emb_N.npy``, ``text_emb/text_emb_N.npy`` and ``metadata/metadata_N.parquet`` belong together by N, which
some writers pad with zeros. Mirrors also call the folders ``images/`` and ``texts/``.
"""

from __future__ import annotations

import re

from tailwag.errors import BadInput

from ..storage import Location
from .matrices import read_header
from .parts import Part, open_parts, refuse

_IMAGES, _TEXTS, _METADATA = ("img_emb", "images"), ("text_emb", "texts"), ("metadata",)
_NUMBERED = re.compile(r"(?:.*\D)?(\d+)")


def is_clip_retrieval(root: Location) -> bool:
    """Say whether a folder is laid out as clip-retrieval's output."""
    return any((root / name).is_dir() for name in (*_IMAGES, *_TEXTS)) and (root / "metadata").is_dir()


def find_parts(root: Location, name: str) -> list[Part]:
    """Pair the files of an output folder by number, in the order of the numbers; numbers may have gaps.

    Parameters
    ----------
    root
        The folder that holds the others.
    name
        What its parts' names begin with.

    Raises
    ------
    BadInput
        When images have no vectors, a file lacks its partners, or partners do not fit; names the files.
    """
    images = _numbered(root, _IMAGES, ".npy")
    if images is None:
        raise BadInput(f"{root} holds no img_emb/ (or images/): without vectors of images there is nothing to count")
    metadata = _numbered(root, _METADATA, ".parquet") or {}
    texts = _numbered(root, _TEXTS, ".npy")
    kinds = {"img_emb": images, "metadata": metadata} | ({"text_emb": texts} if texts is not None else {})
    faults, paired = [], []
    for number in sorted(set().union(*kinds.values())):
        absent = [kind for kind, files in kinds.items() if number not in files]
        if absent:
            present = next(files[number] for files in kinds.values() if number in files)
            faults.append(f"{present} has no partner {' and no '.join(f'{kind} {number}' for kind in absent)}")
        else:
            paired.append(number)
    if not paired and not faults:
        raise BadInput(f"{root} holds no img_emb_N.npy: it is no finished output of clip-retrieval")

    def opened(number: int) -> Part:
        text = read_header(texts[number]) if texts is not None else None
        return Part(f"{name}/{number}", read_header(images[number]), text, metadata[number])

    return open_parts(paired, opened, faults)


def _numbered(root: Location, folders: tuple[str, ...], suffix: str) -> dict[int, Location] | None:
    """Give a folder's files by the number that their names end in; None where there is no such folder."""
    there = [root / folder for folder in folders if (root / folder).is_dir()]
    if not there:
        return None
    if len(there) > 1:
        raise BadInput(f"{there[0]} and {there[1]} both hold vectors of one side: leave one of them there")
    found: dict[int, Location] = {}
    faults = []
    for path in sorted(there[0].iterdir(), key=str):
        if path.suffix != suffix or path.name.startswith("."):
            continue
        match = _NUMBERED.fullmatch(path.stem)
        if match is None:
            faults.append(f"{path} ends in no number, by which files are paired")
        elif int(match[1]) in found:
            faults.append(f"{found[int(match[1])]} and {path} both have the number {int(match[1])}")
        else:
            found[int(match[1])] = path
    refuse(faults)
    return found
