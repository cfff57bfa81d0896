"""A real Ray cluster on this machine: a head without cores, and nodes that work. Nodes can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ATTEMPTS = 3


@contextmanager
def ray_nodes(many: int) -> Iterator[tuple[Any, list[Any]]]:
    """Start a cluster with so many nodes of one core, and join it; gives the cluster and its nodes."""
    import ray

    cluster, nodes = _started(many)
    try:
        ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def _started(many: int) -> tuple[Any, list[Any]]:
    """Start the nodes; Ray gives each half a minute, which a busy machine may not keep to the first time."""
    from ray.cluster_utils import Cluster

    for attempt in range(ATTEMPTS):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=0, include_dashboard=False)
            return cluster, [cluster.add_node(num_cpus=1) for _ in range(many)]
        except Exception:  # what Ray raises then is no class of its own
            cluster.shutdown()
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError
