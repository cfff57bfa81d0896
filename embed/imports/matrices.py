"""Matrices of vectors in .npy files and in .npz archives: their headers checked, their rows read in blocks.

Not here: which files belong together (`clip_retrieval.py`, `datacomp.py`), what a vector must be (`normalising.py`).
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tailwag.errors import BadInput, TailwagError

from ..storage import Location, open_ends, size_of

# numpy reads a header with `ast`, which fails now and then where several threads use it at once (before Python 3.12).
_HEADERS = threading.Lock()


@dataclass(frozen=True)
class Matrix:
    """One matrix in a file, as its header describes it. Made by `read_header`.

    Attributes
    ----------
    path
        The .npy or .npz file, here or on a store.
    member
        The array's name in a .npz; None for a .npy.
    rows, dimension
        Its shape.
    dtype
        float16, float32 or float64, in either byte order.
    """

    path: Location
    member: str | None
    rows: int
    dimension: int
    dtype: np.dtype

    @property
    def title(self) -> str:
        """The file, and the array in it, for messages."""
        return f"{self.path}" + (f"[{self.member}]" if self.member is not None else "")

    @contextmanager
    def reader(self) -> Iterator[Callable[[int], np.ndarray]]:
        """Open the matrix; the function that comes gives the next n rows as (n, dimension) of `dtype`.

        Blocks are copies in memory of their own, so that no more of the file than they is held; of one on a store also
        what is fetched ahead. At the end of a .npz its checksum has been compared.

        Raises
        ------
        TailwagError
            While reading: when the file ends early, cannot be read, or fails its checksum.
        StoreFailure
            When the store refuses, or does not answer.
        """
        with self._stream() as stream:
            _header(stream, self.title)

            def following(rows: int) -> np.ndarray:
                block = np.empty((rows, self.dimension), self.dtype)
                try:
                    if self.member is None and isinstance(self.path, Path):
                        _pass_through(stream, block.nbytes)
                    read = _fill(stream, block)
                except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                    raise TailwagError(f"{self.title} cannot be read: {error}: fetch it again") from error
                if read != block.nbytes:
                    raise TailwagError(f"{self.title} ends early: it was cut while it was read; fetch it again")
                return block

            yield following

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        with self.path.open("rb") as file:
            if self.member is None:
                yield file
                return
            with zipfile.ZipFile(file) as archive, archive.open(f"{self.member}.npy") as member:
                yield member


def _pass_through(file: IO[bytes], size: int) -> None:
    """Ask the system to fetch the next bytes, and as many again, and to let go of those before: none is read twice.

    Kept in its cache, they would push out what others need, and every page of it would be a fresh one.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), file.tell(), 2 * size, os.POSIX_FADV_WILLNEED)
        os.posix_fadvise(file.fileno(), 0, file.tell(), os.POSIX_FADV_DONTNEED)


def read_header(path: Location, member: str | None = None) -> Matrix:
    """Read what a matrix says of itself, and compare it with the file's size.

    Parameters
    ----------
    path
        A .npy, or a .npz.
    member
        The array in a .npz; None for a .npy.

    Raises
    ------
    BadInput
        For a file that cannot be read, is cut or is no such file, and for an array that is no matrix of floating-point
        numbers, row by row; names the file.
    StoreFailure
        When a store refuses, or does not answer.
    """
    title = f"{path}" + (f"[{member}]" if member is not None else "")
    try:
        with open_ends(path) as file:
            if member is None:
                size = size_of(path)
                shape, by_columns, dtype = _header(file, title)
                header = file.tell()
            else:
                with zipfile.ZipFile(file) as archive:
                    names = [name.removesuffix(".npy") for name in archive.namelist()]
                    if member not in names:
                        raise BadInput(f"{path} holds no array {member!r}, only {', '.join(names) or 'nothing'}")
                    size = archive.getinfo(f"{member}.npy").file_size
                    with archive.open(f"{member}.npy") as array:
                        shape, by_columns, dtype = _header(array, title)
                        header = array.tell()
    except zipfile.BadZipFile as error:
        raise BadInput(f"{path} is cut or no .npz archive ({error}): fetch it again") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from error
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise BadInput(f"{title} holds {dtype}, not floating-point numbers: these are no embeddings")
    if len(shape) != 2 or not shape[1]:
        raise BadInput(f"{title} is of shape {shape}, not (rows, dimension): these are no embeddings")
    if by_columns and min(shape) > 1:
        raise BadInput(f"{title} is stored column by column: save it again with numpy.ascontiguousarray")
    wanted = header + shape[0] * shape[1] * dtype.itemsize
    if size != wanted:
        how = "is cut" if size < wanted else "is longer than it says"
        raise BadInput(f"{title} {how}: {shape[0]:,} rows take {wanted:,} bytes, it has {size:,}: fetch it again")
    return Matrix(path, member, shape[0], shape[1], dtype)


def _header(stream: IO[bytes], title: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read numpy's header: shape, whether it lies column by column, dtype. Leaves the stream at the first number."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with _HEADERS:
            return read(stream)
    except (ValueError, EOFError, zlib.error) as error:
        raise BadInput(f"{title} is no numpy array ({str(error).splitlines()[0]}): fetch it again") from error


def _fill(stream: Any, block: np.ndarray) -> int:
    """Read into a block's memory; give how many bytes came."""
    bytes_of_it: Any = block.view(np.uint8).reshape(-1) if block.size else b""
    view = memoryview(bytes_of_it)
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            break
        done += count
    return done
