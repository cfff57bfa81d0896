"""Files that are not on this machine: object stores and web servers, named by addresses, listed and read in ranges.

Not here: the requests, their retries and their errors (`store_requests.py`); what the files mean (`sources.py`);
tables, which Lance reads and writes itself (`database.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from tailwag.errors import BadInput, NotFound

from .store_requests import WEB, file_system, request, require_no_credentials

_END_BYTES = 64 << 10  # of each end of a file, by which it is recognised
_HEAD_BYTES = 4 << 10  # more than headers of matrices have


class _Status(NamedTuple):
    st_size: int


@dataclass(frozen=True)
class StorePath:
    """A file or a prefix on a store, with what is used of `pathlib.Path`: most code need not tell the two apart.

    Attributes
    ----------
    address
        ``s3://bucket/key`` or ``https://host/path``, without a query string.
    size
        Bytes, as last seen; None where nobody looked.
    etag
        The store's tag for the content, as last seen; empty where there is none.
    query
        A presigned address's query string. Kept in memory alone: neither printed nor stored.
    """

    address: str
    size: int | None = field(default=None, compare=False)
    etag: str = field(default="", compare=False, repr=False)
    query: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(f"{self.address.rstrip('/')}/{name}", query=self.query)

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.address.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part; of a bucket, its name."""
        return self.address.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's last suffix, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> StorePath:
        """What it lies in; a bucket lies in itself."""
        return self if self._is_bucket else StorePath(self.address.rpartition("/")[0])

    @property
    def _is_bucket(self) -> bool:
        return "/" not in self.address.partition("://")[2]

    def with_name(self, name: str) -> StorePath:
        """Name a neighbour."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        """Name the neighbour that differs in its last suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, prefix: StorePath) -> PurePosixPath:
        """Give the way here from a prefix that it lies below."""
        return PurePosixPath(self.address).relative_to(prefix.address)

    def look(self) -> StorePath | None:
        """Ask the store for size and tag now; None when there is no such file.

        Raises
        ------
        StoreFailure
            When the store refuses, or does not answer.
        """
        try:
            found = _ask(self, "info")
        except NotFound:
            return None
        return self._described(found) if found["type"] == "file" else None

    def stat(self) -> _Status:
        """Ask the store for the size now.

        Raises
        ------
        NotFound
            When there is no such file.
        """
        found = self.look()
        if found is None or found.size is None:
            raise NotFound(f"{self} is not there")
        return _Status(found.size)

    def is_file(self) -> bool:
        """Say whether there is such a file."""
        return self.look() is not None

    def is_dir(self) -> bool:
        """Say whether files lie below it; never for a web server, which does not tell."""
        if self.protocol in WEB:
            return False
        try:
            return _ask(self, "info")["type"] == "directory"
        except NotFound:
            return False

    def files(self) -> list[StorePath]:
        """List the files at any depth below a prefix, sorted, with their sizes.

        Raises
        ------
        BadInput
            For a web server, which lists nothing.
        StoreFailure
            When the store refuses, or does not answer.
        """
        self._require_listing()
        return self._listed(_ask(self, "find", withdirs=False, detail=True).values())

    def iterdir(self) -> Iterator[StorePath]:
        """List the files that lie directly in this prefix, sorted, with their sizes; none where it does not exist."""
        self._require_listing()
        try:
            yield from self._listed(_ask(self, "ls", detail=True))
        except NotFound:
            return

    def rglob(self, pattern: str) -> Iterator[StorePath]:
        """List the files at any depth below this prefix whose names match a pattern, sorted, with their sizes."""
        yield from (file for file in self.files() if fnmatchcase(file.name, pattern))

    def folders(self) -> list[str]:
        """Name what looks like a folder directly in this prefix, sorted; none where it does not exist.

        Raises
        ------
        NotFound
            When not even the bucket exists.
        """
        self._require_listing()
        try:
            found = _ask(self, "ls", detail=True)
        except NotFound:
            if self._is_bucket:
                raise NotFound(f"{self} is not there: name a bucket that exists") from None
            StorePath(f"{self.protocol}://{_path_in(self.address).partition('/')[0]}").folders()
            return []
        names = (entry["name"].rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == "directory")
        return sorted(names)

    def matches(self) -> list[StorePath]:
        """List the files that the address, read as a glob pattern, matches: sorted, with their sizes."""
        self._require_listing()
        return self._listed(_ask(self, "glob", detail=True).values())

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """Read the file, or the bytes from `start` up to `end`.

        Raises
        ------
        NotFound
            When it is not there.
        StoreFailure
            When the store refuses, does not answer, or gives fewer bytes than asked for.
        """
        if start is None or end is None:
            return _ask(self, "cat_file")
        return _ask(self, "cat_file", start=start, end=end, check=partial(_require_length, self, end - start))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read the file as a text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file for reading, in blocks that are fetched ahead; the whole of it is never in memory."""
        from .ranged_reading import open_ranged

        assert mode == "rb"
        return open_ranged(self.known())

    def known(self) -> StorePath:
        """Give the file with its size, asking the store where nobody has looked.

        Raises
        ------
        NotFound
            When it is not there.
        """
        known = self if self.size is not None else self.look()
        if known is None:
            raise NotFound(f"{self} is not there any more")
        return known

    def _listed(self, found: Any) -> list[StorePath]:
        files = [entry for entry in found if entry["type"] == "file" and not entry["name"].endswith("/")]
        return sorted((self._described(entry) for entry in files), key=str)

    def _described(self, entry: dict[str, Any]) -> StorePath:
        # A web server's answer names where it was redirected to, with the query: what was asked for is kept instead.
        address = self.address if self.protocol in WEB else f"{self.protocol}://{_path_in(entry['name'])}"
        size = entry.get("size")
        if size is None:
            raise BadInput(f"{self} does not say its size, and is read in ranges: copy it to this machine first")
        return StorePath(address, int(size), str(entry.get("ETag") or entry.get("etag") or ""), self.query)

    def _require_listing(self) -> None:
        if self.protocol in WEB:
            raise BadInput(
                f"{self}: a web server lists nothing: name each .tar, or a pattern like {{00000..00331}}.tar"
            )


Location = Path | StorePath


def size_of(path: Location) -> int:
    """Give a file's size in bytes: on a store as it was listed, if it was."""
    known = path.size if isinstance(path, StorePath) else None
    return path.stat().st_size if known is None else known


class Ends(NamedTuple):
    """By what a file is recognised: its size, its first and last bytes, and on a store the tag for its content."""

    size: int
    first: bytes
    last: bytes
    etag: str = ""


def read_ends(path: Location) -> Ends:
    """Read a file's ends, as they are now.

    Raises
    ------
    OSError, NotFound
        When it is not there.
    StoreFailure
        When the store refuses, or does not answer.
    """
    if isinstance(path, Path):
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            return Ends(size, first, file.read(_END_BYTES))
    now = path.look()
    if now is None or now.size is None:
        raise NotFound(f"{path} is not there any more")
    size = now.size
    first, last = (
        now.read_bytes(*limits) if size else b""
        for limits in ((0, min(size, _END_BYTES)), (max(0, size - _END_BYTES), size))
    )
    return Ends(size, first, last, now.etag)


def open_ends(path: Location) -> BinaryIO:
    """Open a file of which little more than its beginning and its end is read: on a store nothing else is fetched."""
    from .ranged_reading import open_ranged

    if isinstance(path, Path):
        return path.open("rb")
    known = path.known()
    assert known.size is not None
    head, tail = min(known.size, _HEAD_BYTES), max(0, known.size - _END_BYTES)
    pieces = [[(0, head)], [(tail, known.size)]] if head < tail else [[(0, known.size)]]
    return open_ranged(known, streams=pieces)


def is_remote(text: str | Path) -> bool:
    """Say whether a text names something on another machine: an address, not of the scheme ``file``."""
    return "://" in str(text) and not str(text).startswith("file://")


def locate(text: str | Path) -> Location:
    """Turn what a user wrote, or what a table recorded, into a path here or an address elsewhere.

    Raises
    ------
    BadInput
        For an address that holds credentials: addresses are printed and stored.

    Examples
    --------
    >>> str(locate("s3://bucket/set/00000.tar?X-Amz-Signature=abc"))
    's3://bucket/set/00000.tar?X-Amz-Signature=abc'
    >>> str(locate("https://host/set/00000.tar?X-Amz-Signature=abc"))
    'https://host/set/00000.tar'
    """
    text = str(text)
    if not is_remote(text):
        return Path(text.removeprefix("file://"))
    protocol, _, rest = text.partition("://")
    require_no_credentials(text)
    query = ""
    if protocol in WEB:  # elsewhere a question mark belongs to the key
        rest = rest.partition("#")[0]
        rest, _, query = rest.partition("?")
    return StorePath(f"{protocol}://{rest.rstrip('/')}", query=query)


def call_s3(path: StorePath, method: str, *, attempts: int | None = None, **arguments: Any) -> Any:
    """Make one call of the S3 interface on an object, as botocore names calls and arguments.

    Parameters
    ----------
    path
        The object; its bucket and key are filled in.
    method
        ``"head_object"``, ``"put_object"``.
    attempts
        How often at most; None for as often as every other request.

    Raises
    ------
    NotFound
        When the bucket or the object is not there.
    PreconditionFailed
        When a condition among the arguments (``IfMatch``, ``IfNoneMatch``) does not hold.
    StoreFailure
        When the store refuses, or does not answer.
    """
    bucket, _, key = path.address.partition("://")[2].partition("/")
    call = partial(file_system(path.protocol).call_s3, method, Bucket=bucket, Key=key, **arguments)
    return request(path.address, call, attempts)


def _ask(path: StorePath, method: str, check: Callable[[Any], None] | None = None, **arguments: Any) -> Any:
    """Call a method of the path's file system, again where that may help."""
    files = file_system(path.protocol)
    target = f"{path.address}?{path.query}" if path.query else path.address

    def call() -> Any:
        answer = getattr(files, method)(target, **arguments)
        if check is not None:
            check(answer)
        return answer

    return request(target, call)


def _require_length(path: StorePath, expected: int, content: bytes) -> None:
    if len(content) > expected:
        raise BadInput(f"{path}: the server gives whole files where a range was asked for: copy it to this machine")
    if len(content) < expected:
        raise ConnectionError(f"{len(content):,} of {expected:,} bytes came")


def _path_in(name: str) -> str:
    return name.partition("://")[2] if "://" in name else name.lstrip("/")
