"""One network trained by several processes at once, on one machine or many, by MPI."""

from .job import Alone, Job, job_of, world
from .shards import ShardTrainer, StreamShardTrainer

__all__ = ["Alone", "Job", "ShardTrainer", "StreamShardTrainer", "job_of", "world"]
