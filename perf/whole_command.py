"""A command run to its end and watched from outside: its time, its processors' time, and the memory of all it starts.

Linux only. Not here: which commands (`embed_peer.py`).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.1
# The shares are summed page by page in the system, which costs the watched command some of its time.
_LOOKS_A_SHARE = 10
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Watched:
    """What a command took.

    Attributes
    ----------
    seconds
        From its start to its end.
    steady_seconds
        From the first line that holds the marker to its end.
    processor_seconds
        Of all its processes.
    peak_resident_bytes
        The greatest sum of resident memory over all its processes at one time; what they share counts in each.
    peak_share_bytes
        The same of proportional shares, in which what k processes share counts a k-th in each; looked at once a second.
    processes
        The most at one time.
    output
        What it printed.
    """

    seconds: float
    steady_seconds: float
    processor_seconds: float
    peak_resident_bytes: int
    peak_share_bytes: int
    processes: int
    output: str


def watch(command: Sequence[str], marker: str, environment: Mapping[str, str] | None = None) -> Watched:
    """Run a command.

    Parameters
    ----------
    command
        Program and arguments.
    marker
        Stands in the first line that is printed once the command is ready to do its work.
    environment
        Added to this process's own.

    Raises
    ------
    SystemExit
        When the command fails or never prints the marker; the end of its output says why.
    """
    # Libraries are loaded as they are where Python may keep what it compiled.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**kept, **(environment or {})},
        start_new_session=True,  # whatever it starts is found by its session
    )
    lines: list[str] = []
    ready: list[float] = []
    reader = threading.Thread(target=_read, args=(process, marker, lines, ready))
    reader.start()
    resident, share, most, looks = 0, 0, 0, 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        alive = session_of(process.pid)
        resident = max(resident, sum(map(resident_bytes, alive)))
        if looks % _LOOKS_A_SHARE == 0:
            share = max(share, sum(map(share_bytes, alive)))
        most, looks = max(most, len(alive)), looks + 1
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    end = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    output = "".join(lines)
    if process.returncode or not ready:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}:\n{output[-3000:]}")
    seconds = usage.ru_utime + usage.ru_stime
    return Watched(end - start, end - ready[0], seconds, resident, share, most, output)


def session_of(leader: int) -> list[int]:
    """List the processes of a session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            # After the name, which may hold anything: state, parent, group, session.
            fields = _text(folder / "stat").rpartition(")")[2].split()
            if len(fields) > 3 and int(fields[3]) == leader:
                found.append(int(folder.name))
    return found


def resident_bytes(pid: int) -> int:
    """Give a process's resident memory, 0 for one that has ended."""
    fields = _text(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def share_bytes(pid: int) -> int:
    """Give a process's proportional share of resident memory, 0 for one that has ended."""
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def _read(process: subprocess.Popen[str], marker: str, lines: list[str], ready: list[float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if not ready and marker in line:
            ready.append(time.perf_counter())
        lines.append(line)
