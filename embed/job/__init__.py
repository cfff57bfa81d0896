"""The embedding job: what is to be done, doing it in groups of shards on an engine, committing what comes back."""

from .planning import EmbeddingPlan, plan_embedding, plan_retry
from .report import EmbeddingReport, IncompleteJob
from .running import run_embedding, run_job

__all__ = [
    "EmbeddingPlan",
    "EmbeddingReport",
    "IncompleteJob",
    "plan_embedding",
    "plan_retry",
    "run_embedding",
    "run_job",
]
