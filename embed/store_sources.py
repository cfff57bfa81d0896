"""Finding sources on a store: what an address, a prefix or a pattern names there.

Not here: sources on this machine, and the names of shards (`sources.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from tailwag.errors import NotFound

from .braces import GLOB_CHARACTERS, expand_braces
from .decoding import IMAGE_SUFFIXES
from .storage import StorePath, locate
from .store_requests import WEB

# From so many files of one folder on, the folder is listed (a thousand names a request) instead of asking for each.
_LIST_FROM = 8
REQUESTS_AT_ONCE = 32


@dataclass
class StoreSources:
    """What sources on a store name.

    Attributes
    ----------
    tars
        Tar files (and files that are named one by one, whatever they are), with their sizes.
    roots
        Prefixes without tar files: folders of images.
    missing
        What is named one by one and is not there.
    images_beside
        Images below prefixes that also hold tar files.
    """

    tars: list[StorePath] = field(default_factory=list)
    roots: list[StorePath] = field(default_factory=list)
    missing: list[StorePath] = field(default_factory=list)
    images_beside: int = 0

    def _add_prefix(self, prefix: StorePath) -> None:
        files = prefix.files()
        tars = [file for file in files if is_tar_name(file)]
        if not tars:
            self.roots.append(prefix)
            return
        suffixes = Counter(file.suffix.lower().lstrip(".") for file in files)
        self.tars += tars
        self.images_beside += sum(suffixes[suffix] for suffix in IMAGE_SUFFIXES)


def find_on_store(source: str) -> StoreSources:
    """Find what a source names: a file, a prefix, a brace pattern or a glob, each a tar or a folder of images.

    Raises
    ------
    NotFound
        When a glob matches nothing.
    BadInput
        For an address with credentials in it, and for globs and prefixes on a web server.
    StoreFailure
        When the store refuses, or does not answer.
    """
    path, found = locate(source), StoreSources()
    assert isinstance(path, StorePath)
    explicit: list[StorePath] = []
    # As on this machine, what exists as it is written is no pattern.
    whole = "{" in path.address and path.protocol not in WEB and path.is_file()
    for address in [path.address] if whole else expand_braces(path.address):
        one = replace(path, address=address)
        if path.protocol in WEB or not GLOB_CHARACTERS & set(address) or one.is_file():
            explicit.append(one)
            continue
        matches = one.matches()
        if not matches:
            raise NotFound(f"no file matches {one}")
        found.tars += matches
    for one, seen in zip(explicit, _look_at_all(explicit), strict=True):
        if seen is not None:
            found.tars.append(seen)
        elif one.is_dir():
            found._add_prefix(one)
        else:
            found.missing.append(one)
    return found


def is_tar_name(path: StorePath) -> bool:
    """Say whether it is a tar file by its name; macOS writes a file of its own beside each (._x)."""
    return path.suffix == ".tar" and not path.name.startswith("._")


def _look_at_all(paths: Sequence[StorePath]) -> list[StorePath | None]:
    """Look at many files at once, in their order; None for what is no file."""
    of_folder: dict[StorePath, list[StorePath]] = defaultdict(list)
    for path in paths:
        if path.protocol not in WEB:
            of_folder[path.parent].append(path)
    listed: dict[StorePath, StorePath] = {}
    for folder, members in of_folder.items():
        if len(members) >= _LIST_FROM:
            listed |= {file: file for file in folder.iterdir()}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        large = {folder for folder, members in of_folder.items() if len(members) >= _LIST_FROM}
        return list(pool.map(lambda path: listed.get(path) if path.parent in large else path.look(), paths))
