"""The processes that train one network together: what they agree on, and how all of them end."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastdnn._streams import standard
from fastdnn.divergence import DivergenceError
from fastdnn.kernels.cpu import threads

from .exchange import Exchange

if TYPE_CHECKING:
    from fastdnn.kernels.engine import Engine
    from fastdnn.loop import State

T = TypeVar("T")
MISSING = "pip install 'fastdnn[mpi]'"
METHODS = "Dup", "Get_rank", "Get_size", "Sendrecv", "Bcast", "allgather", "Abort"
FORWARDED = 0.5  # seconds in which mpiexec hands on what a rank has written, before it ends all
NAP = 0.002  # seconds between two looks at whether others have come, where they may take long
_ERRORS: dict[str, type[Exception]] = {
    one.__name__: one for one in (TypeError, ValueError, ImportError, MemoryError)
}


class Alone:
    """A training by one process: nobody to agree with."""

    rank, size = 0, 1
    comm: Any = None

    @property
    def is_shared(self) -> bool:
        """Return whether several processes may work together, each on its shard."""
        return False

    @contextmanager
    def running(self) -> Iterator[None]:
        """End all ranks if an error ends this one."""
        yield

    def agreed(self, work: Callable[[], T]) -> T:
        """Return what `work` does, if it raises on no rank."""
        return work()

    def begin(self, trainer: Any, **facts: Any) -> None:
        """Have all ranks begin alike; refuses those whose networks or `facts` differ."""

    def kind_of(self, alone: type[T], shared: type[T]) -> Callable[..., T]:
        """Return which of two classes trains."""
        return alone

    def shard(self, check: Callable[..., Any], X: Any, y: Any, sample_weight: Any) -> Any:
        """Return what `check` makes of the samples."""
        return check(X, y, sample_weight)

    def first(self, value: T) -> T:
        """Return what the first rank gives."""
        return value

    def threads(self) -> int | None:
        """Return how many threads the rank may use; None: all that fastdnn would."""
        return None

    def verbose(self, given: int | str) -> int | str:
        """Return what the rank shows."""
        return given


class Job(Alone):
    """The ranks of a communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        All of its ranks make a job of it, at the same time.

    Raises
    ------
    TypeError
        If it is none.
    """

    def __init__(self, comm: Any) -> None:
        if not all(callable(getattr(comm, name, None)) for name in METHODS):
            raise TypeError(
                "comm: want a communicator of mpi4py, as MPI.COMM_WORLD, got "
                f"{type(comm).__name__}; mpi4py comes by {MISSING}"
            )
        self._given = comm
        self.comm = comm.Dup()  # apart from what the caller sends
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.is_ending = False  # all epochs are over, and no rank waits for another's step
        self._common: BaseException | None = None
        self._machine = self._of_machine()
        mine, *others = self._cpus()
        sharing = sum(1 for other in others if mine & other)
        self._threads = max(threads.available_cpus() // max(sharing, 1), 1)
        self.exchange = Exchange(self.comm, yields=sharing > len(mine))

    @property
    def is_shared(self) -> bool:
        """Return whether several processes may work together, each on its shard."""
        return True

    def _of_machine(self) -> Any:
        from mpi4py import MPI

        return self.comm.Split_type(MPI.COMM_TYPE_SHARED)

    def _cpus(self) -> list[set[int]]:
        """Return the CPUs that this rank may use, then those of each rank of the machine."""
        try:
            mine = set(os.sched_getaffinity(0))
        except AttributeError:  # not on Linux
            mine = set(range(os.cpu_count() or 1))
        return [mine, *self._machine.allgather(mine)]

    def begin(self, trainer: Any, **facts: Any) -> None:
        """Take rank 0's network and agree on the steps."""
        kind = type(trainer).__name__
        with_validation = trainer.validation is not None
        self.check_same(
            facts_of(
                trainer.engine,
                **facts,
                steps_per_epoch=trainer.steps,
                kind_of_samples=kind,
                validation_data=f"{'some' if with_validation else 'none'}",
                metrics=list(trainer.metrics),
                resume_from=trainer.resumed is not None,
            )
        )
        # one that calls a loss of arrays has the engine in it
        engine = getattr(trainer.engine, "engine", trainer.engine)
        self.broadcast_start(engine, trainer.state)
        trainer.join()

    def kind_of(self, alone: type[T], shared: type[T]) -> Callable[..., T]:
        """Return the class that trains together with others, of this job."""
        return partial(shared, job=self)  # type: ignore[call-arg]

    def shard(self, check: Callable[..., Any], X: Any, y: Any, sample_weight: Any) -> Any:
        """Return what `check` makes of the samples, of which a rank may have none."""
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if len(shape) != 2 or shape[0] > 0:
            return check(X, y, sample_weight)
        # what may stand for a target, and a sample that is left out again
        targets = np.asarray(y)
        one = np.zeros((1, *targets.shape[1:]), targets.dtype)
        return check(np.zeros((1, shape[1])), one, None).rows(slice(0))

    def threads(self) -> int:
        """Return the rank's share of the CPUs that it and others of its machine may use."""
        return min(self._threads, threads.get_num_threads())

    def verbose(self, given: int | str) -> int | str:
        """Return what the rank shows: rank 0 does."""
        return given if self.rank == 0 else 0

    # ------------------------------------------------------------------------------------- errors
    @contextmanager
    def running(self) -> Iterator[None]:
        """End all ranks if an error ends this one, unless it ends all of them by itself."""
        try:
            yield
        except BaseException as error:
            is_common = error is self._common or isinstance(error, DivergenceError)
            if self.size > 1 and not is_common:
                self._abort(error)
            raise
        finally:
            self._machine.Free()
            self.comm.Free()

    def _abort(self, error: BaseException) -> None:
        """Say why, and end the processes of all ranks: the others wait for this one's step."""
        stream, what = standard("stderr"), f"{type(error).__name__}: {error}".rstrip(": ")
        said = f"fastdnn: rank {self.rank} of {self.size} has failed and ends all: {what}\n"
        stream.write("".join(traceback.format_exception(error)) + said)
        stream.flush()
        standard("stdout").flush()
        sleep(FORWARDED)
        self._given.Abort(1)

    def agreed(self, work: Callable[[], T]) -> T:
        """Return what `work` does, if it raises on no rank; else an error is raised on all."""
        failure, result = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        self.share(failure)
        return result  # type: ignore[return-value]

    def share(self, failure: BaseException | None) -> None:
        """Raise an error on all ranks if there is one on any; it names the rank on the others."""
        told = None if failure is None else (type(failure).__name__, str(failure))
        for rank, found in enumerate(self.comm.allgather(told)):
            if found is not None:
                kind, text = found
                other = _ERRORS.get(kind, RuntimeError)(f"rank {rank}: {text}")
                self.raise_common(failure or other)

    def raise_common(self, error: BaseException) -> None:
        """Raise an error that every rank raises at this moment."""
        self._common = error
        raise error

    # ---------------------------------------------------------------------------------- agreements
    def check_same(self, facts: dict[str, Any]) -> None:
        """Refuse to train together what differs, by a ValueError on all ranks that names it."""
        own, *others = self.comm.allgather(facts)
        for rank, found in enumerate(others, 1):
            for name, value in own.items():
                if found[name] != value:
                    text = _difference(value, found[name], rank)
                    self.raise_common(
                        ValueError(f"comm: want the same {name} on every rank, got {text}")
                    )

    def broadcast_start(self, engine: Engine, state: State) -> None:
        """Take over rank 0's parameters, memory of the optimizer, counters and random numbers."""
        counters = state.entropy, state.steps, state.epochs
        size, counters = self.comm.bcast((engine.slots.size, counters))
        if engine.slots.size != size:
            engine.slots = np.zeros(size, engine.dtype)
        self.comm.Bcast(engine.values)
        if size:
            self.comm.Bcast(engine.slots)
        state.entropy, state.steps, state.epochs = counters

    def first(self, value: T) -> T:
        """Return what the first rank gives."""
        return self.comm.bcast(value)  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Wait for the ranks of this machine, and leave the CPU to them meanwhile."""
        request = self._machine.Ibarrier()
        while not request.Test():
            sleep(NAP)

    @property
    def is_first_here(self) -> bool:
        """Return whether this rank is the first one of its machine."""
        return bool(self._machine.Get_rank() == 0)


def facts_of(engine: Engine, **others: Any) -> dict[str, Any]:
    """Return what has to be the same on all ranks, as text that tells of no addresses."""
    layers = [str(layer) for layer in engine.layers]
    facts = {
        "dtype": engine.dtype.name,
        "number of parameters": engine.parameters.size,
        "layers": layers,
        **others,
    }
    return {name: _plain(value) for name, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return re.sub(r" at 0x[0-9a-f]+", "", value if isinstance(value, str) else repr(value))


def _difference(first: Any, other: Any, rank: int) -> str:
    """Return both values, of lists the first ones that differ."""
    if isinstance(first, list) and len(first) == len(other):
        first, other = next((a, b) for a, b in zip(first, other, strict=True) if a != b)
    return f"{first} on rank 0 and {other} on rank {rank}"


def job_of(comm: Any) -> Alone:
    """Return the job of a communicator; None is none."""
    return Alone() if comm is None else Job(comm)


def size_by_environment() -> int:
    """Return how many processes ``mpiexec`` has started together with this one, itself included."""
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 1


def world() -> Any:
    """Return the communicator of all processes that ``mpiexec`` has started; None without it.

    Raises
    ------
    ImportError
        If there are several, and mpi4py is missing.
    """
    if size_by_environment() < 2:
        return None
    try:
        from mpi4py import MPI
    except ImportError:
        raise ImportError(
            f"mpiexec has started {size_by_environment()} processes, and to train one network "
            f"together they need mpi4py: {MISSING}"
        ) from None
    return MPI.COMM_WORLD
