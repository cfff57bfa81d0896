"""Joining a Ray cluster, for embedding and for counting. Needs the extra `ray`."""

from __future__ import annotations

import logging
from typing import Any

from tailwag.errors import BadInput


def join_cluster(address: str | None) -> Any:
    """Join a cluster, unless this process has joined one.

    Parameters
    ----------
    address
        Of its head; None for the cluster that this machine belongs to.

    Returns
    -------
    module
        `ray`.

    Raises
    ------
    BadInput
        When Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise BadInput("--engine ray needs Ray on every node: pip install 'tailwag[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address or "auto", logging_level=logging.WARNING, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"no Ray cluster at {address or 'this machine'}: start one with `ray start --head`, or pass "
                "--ray-address"
            ) from error
    return ray


def nodes_of(ray: Any) -> tuple[int, list[int]]:
    """Give the number of GPUs of a cluster, and the cores of each node that has some."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    return gpus, [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
