"""DataComp's metadata: a .npz of vectors and a .parquet of one name, row by row; in the largest sets in sub-folders.

The .npz holds vectors of two models for each pair, ``b32`` (512 dimensions) and ``l14`` (768).
"""

from __future__ import annotations

from pathlib import Path

from tailwag.errors import BadInput

from .matrices import read_header
from .parts import Part, check_parts

VECTORS = ("b32", "l14")


def is_datacomp(root: Path) -> bool:
    """Say whether a folder holds .npz files, at any depth."""
    return next(root.rglob("*.npz"), None) is not None


def find_parts(root: Path, name: str, vectors: str) -> list[Part]:
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
    files = [path for path in sorted(root.rglob("*")) if path.suffix in (".npz", ".parquet") and path.name[0] != "."]
    kinds = {
        suffix: {path.with_suffix(""): path for path in files if path.suffix == suffix}
        for suffix in (".npz", ".parquet")
    }
    faults, parts = [], []
    for stem in sorted(set().union(*kinds.values())):
        absent = [suffix for suffix, found in kinds.items() if stem not in found]
        if absent:
            present = next(found[stem] for found in kinds.values() if stem in found)
            faults.append(f"{present} has no partner {stem.name}{absent[0]} beside it")
            continue
        try:
            image, text = (read_header(kinds[".npz"][stem], f"{vectors}_{side}") for side in ("img", "txt"))
        except BadInput as error:
            faults.append(str(error))
            continue
        parts.append(Part(f"{name}/{stem.relative_to(root).as_posix()}", image, text, kinds[".parquet"][stem]))
    check_parts(parts, faults)
    return parts
