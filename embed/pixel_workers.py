"""Decoding in processes: one process's lock bounds how many pictures Python decodes a second, and a GPU takes more.

Each process makes pixels of files, without torch, and writes them into memory that it shares with the job. One that
dies is replaced, and its files are tried once more, one by one. Not here: decoding itself (`decoding.py`).
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from queue import Queue
from types import TracebackType
from typing import Self

import numpy as np

from tailwag.errors import Caution, TailwagError

from .decoding import Decoded, Undecodable, decode_into
from .failures import Reason
from .preprocessing import Preprocessing

# What a library that trips over a picture does to its process. Other signals come from outside: from a person, or a
# system that has no memory left.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
_SERVE = "from tailwag.embed.pixel_workers import serve; serve({}, {})"


class PixelWorkers:
    """A decoder (`decoding.Decoder`) whose work is done in other processes while the block runs.

    A thread that asks for a batch has a process to itself, so at most `processes` batches are decoded at a time and
    others wait.

    Parameters
    ----------
    preprocessing
        The model's.
    processes
        How many.
    batch_size
        Files that one of them takes at once.

    Attributes
    ----------
    lost
        How many processes died and were replaced.
    """

    def __init__(self, preprocessing: Preprocessing, processes: int, batch_size: int) -> None:
        self.lost = 0
        self._preprocessing = preprocessing
        self._processes = processes
        self._batch_size = batch_size
        self._idle: Queue[_Process] = Queue()

    def __enter__(self) -> Self:
        """Start the processes.

        Raises
        ------
        OSError
            When the system refuses one; none is left then.
        """
        try:
            for _ in range(self._processes):
                self._idle.put(_Process(self._preprocessing, self._batch_size))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        while not self._idle.empty():
            self._idle.get().close()

    def decode(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[Decoded | Undecodable]]:
        """Decode a batch in a process.

        Raises
        ------
        TailwagError
            When a process ended twice over one batch, and not because it crashed over a picture.
        OSError
            When the system refuses a process in the place of one that died; the next batch asks for one again.
        """
        pixels = np.empty((len(files), *self._preprocessing.shape), np.uint8)
        outcomes: list[Decoded | Undecodable] = []
        place = 0
        process = self._idle.get()
        try:
            for start in range(0, len(files), self._batch_size):
                part = files[start : start + self._batch_size]
                try:
                    place += process.decode(part, pixels[place:], outcomes)
                    continue
                except (EOFError, OSError):
                    process = self._replace(process)
                for file in part:
                    try:
                        place += process.decode([file], pixels[place:], outcomes)
                    except (EOFError, OSError):
                        ended = process.exit_status()
                        process = self._replace(process)
                        if -ended not in _CRASHES:
                            raise TailwagError(
                                "a decoding process ended twice over the same pictures "
                                f"({f'signal {-ended}' if ended < 0 else f'exit status {ended}'}); if the machine ran "
                                "out of memory, pass fewer --workers or a smaller --batch-size"
                            ) from None
                        detail = f"the process that decoded it crashed (signal {-ended})"
                        outcomes.append(Undecodable(Reason.DAMAGED_IMAGE, detail))
        finally:
            self._idle.put(process)
        return pixels[:place], outcomes

    def _replace(self, process: _Process) -> _Process:
        process.close()
        self.lost += 1
        ended = process.exit_status()
        how = f"signal {-ended}" if ended < 0 else f"exit status {ended}"
        warnings.warn(
            f"a decoding process died ({how}) and was replaced, {self.lost:,} so far; its pictures are tried once more",
            Caution,
            stacklevel=3,
        )
        return _Process(self._preprocessing, self._batch_size)


class _Process:
    """One process, the pipe to it, and the memory that it writes pixels into.

    The memory has no name: nothing is left behind, whoever is killed, and the small /dev/shm of containers is no
    bound.
    """

    def __init__(self, preprocessing: Preprocessing, batch_size: int) -> None:
        shape = (batch_size, *preprocessing.shape)
        size = int(np.prod(shape))
        memory = os.memfd_create("tailwag-pixels")
        os.ftruncate(memory, size)
        self._memory = mmap.mmap(memory, size)
        self._pixels = np.frombuffer(self._memory, np.uint8).reshape(shape)
        ours, theirs = socket.socketpair()
        code = _SERVE.format(theirs.fileno(), memory)
        # Not `multiprocessing`: a worker of the job may not have children there, and it runs the caller's script again.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code], pass_fds=(theirs.fileno(), memory), stdin=subprocess.DEVNULL
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        self._connection = Connection(ours.detach())
        self._connection.send((preprocessing, batch_size))

    def decode(self, files: Sequence[bytes], pixels: np.ndarray, outcomes: list[Decoded | Undecodable]) -> int:
        """Decode files into `pixels` and note what came of them; gives how many decoded."""
        self._connection.send(list(files))
        found: list[Decoded | Undecodable] = self._connection.recv()
        decoded = sum(isinstance(outcome, Decoded) for outcome in found)
        pixels[:decoded] = self._pixels[:decoded]
        outcomes.extend(found)
        return decoded

    def exit_status(self) -> int:
        """Give how it ended, once it did; the number of a signal is negative."""
        return self._process.wait()

    def close(self) -> None:
        """End it; nothing is to be done where it was ended before."""
        if self._connection.closed:
            return
        self._connection.close()  # at which it ends by itself
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        del self._pixels
        self._memory.close()


def serve(connection: int, memory: int) -> None:
    """Decode batch after batch until the job closes the connection. Runs in the process itself.

    Parameters
    ----------
    connection, memory
        File descriptors: of the socket to the job, and of the memory for pixels.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the job ends this one
    job = Connection(connection)
    try:
        preprocessing, batch_size = job.recv()
        shape = (batch_size, *preprocessing.shape)
        pixels = np.frombuffer(mmap.mmap(memory, int(np.prod(shape))), np.uint8).reshape(shape)
        while True:
            job.send(decode_into(pixels, job.recv(), preprocessing))
    except (EOFError, OSError):
        return
