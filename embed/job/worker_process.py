"""What runs in a worker process of the local engine: load the model, then embed groups until told to stop.

Not here: starting and watching the processes (`local_engine.py`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from queue import Queue
from typing import Any

from tailwag.errors import TailwagError

from ..open_clip_loading import keep_freed_memory
from .worker_settings import WorkerSettings

_SECONDS_BETWEEN_NEWS = 0.2


def work(connection: Connection, settings: WorkerSettings) -> None:
    """Run a worker.

    Takes ``(group, table_uri)``, or None to stop. Gives ``("ready", space)``, ``("samples", n)``,
    ``("done", GroupDone)`` and, when it cannot go on, ``("failed", class, message)``.
    """
    # Ctrl-C reaches every process of a terminal; the job stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()  # before there are threads
    orders: Queue[Any] = Queue()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Orders are taken out of the pipe at once: were it full, the job would wait for this worker, and this for the job.
    threading.Thread(target=_take_orders, args=(connection, orders), daemon=True).start()
    try:
        encoder = settings.load()
        with settings.worker(encoder) as worker:
            connection.send(("ready", encoder.space))
            while (order := orders.get()) is not None:
                group, table_uri = order
                news = _News(connection)
                outcome = worker.embed(group, table_uri, news)
                news.send()
                connection.send(("done", outcome))
    except TailwagError as error:
        connection.send(("failed", type(error), str(error)))
    except Exception:
        connection.send(("failed", RuntimeError, traceback.format_exc()))


class _News:
    """Tells the job how many samples are done, a few times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._samples = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        with self._lock:
            self._samples += amount
            if time.monotonic() - self._told >= _SECONDS_BETWEEN_NEWS:
                self._send()

    def send(self) -> None:
        with self._lock:
            self._send()

    def _send(self) -> None:
        if self._samples:
            self._connection.send(("samples", self._samples))
        self._samples, self._told = 0, time.monotonic()


def _take_orders(connection: Connection, orders: Queue[Any]) -> None:
    order: Any = ()
    while order is not None:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            order = None  # the job has ended
        orders.put(order)


def _end_with_parent() -> None:
    """End when the job was killed: a worker without one would go on reading for nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
