"""DataComp's metadata: a .npz of vectors and a .parquet of one name, row by row; in the largest sets in sub-folders.

The .npz holds vectors of two models for each pair, ``b32`` (512 dimensions) and ``l14`` (768).
"""

from __future__ import annotations

from ..storage import Location
from .matrices import read_header
from .parts import Part, open_parts

VECTORS = ("b32", "l14")


def is_datacomp(root: Location) -> bool:
    """Say whether a folder holds .npz files, at any depth."""
    return next(root.rglob("*.npz"), None) is not None


def find_parts(root: Location, name: str, vectors: str) -> list[Part]:
    """Pair .npz and .parquet files of one name, in the order of their names.

    Parameters
    ----------
    root
        The folder.
    name
        What its parts' names begin with.
    vectors
        ``"b32"`` or ``"l14"``: whose vectors to take.

    Raises
    ------
    BadInput
        When a file lacks its partner, or partners do not fit; names the files.
    """
    kinds: dict[str, dict[str, Location]] = {".npz": {}, ".parquet": {}}
    for path in root.rglob("*"):
        if path.suffix in kinds and path.name[0] != ".":
            kinds[path.suffix][_below(root, path.with_suffix(""))] = path
    archives, tables = kinds.values()
    faults, paired = [], []
    for stem in sorted(archives.keys() | tables.keys()):
        absent = [suffix for suffix, found in kinds.items() if stem not in found]
        if absent:
            present = next(found[stem] for found in kinds.values() if stem in found)
            faults.append(f"{present} has no partner {present.stem}{absent[0]} beside it")
        else:
            paired.append(stem)

    def opened(stem: str) -> Part:
        image, text = (read_header(archives[stem], f"{vectors}_{side}") for side in ("img", "txt"))
        return Part(f"{name}/{stem}", image, text, tables[stem])

    return open_parts(paired, opened, faults)


def _below(root: Location, path: Location) -> str:
    """Give a path relative to the folder that it lies below."""
    return path.relative_to(root).as_posix()  # type: ignore[arg-type] (both are here, or both on one store)
