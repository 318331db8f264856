"""Runs a step in a process of its own, and says how long it took and how much memory."""

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar

from app.errors import GpuledgerError

# What steps import, so that each begins at once.
_PRELOADED = (
    "benchmarks.asking",
    "benchmarks.finance",
    "benchmarks.history",
    "benchmarks.rating",
    "benchmarks.warm",
    "benchmarks.watching",
)

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")
_Returned_co = TypeVar("_Returned_co", covariant=True)


class BenchmarkError(GpuledgerError):
    """A step of a benchmark ended without a result."""


class Stopwatch:
    """Adds up the wall time of the blocks it is entered for, and the process' own CPU time.

    All else is preparation.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._since = 0.0
        self._cpu_since = 0.0

    def __enter__(self) -> Self:
        self._since = time.perf_counter()
        self._cpu_since = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._since
        self.cpu_seconds += time.process_time() - self._cpu_since


@dataclass(frozen=True, slots=True)
class Measured(Generic[_Returned_co]):
    """What a step returned, how long its measured part took, and its process' peak memory."""

    value: _Returned_co
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(
    step: Callable[Concatenate[Stopwatch, _Given], _Value],
    *given: _Given.args,
    **named: _Given.kwargs,
) -> Measured[_Value]:
    """Run ``step`` in a fresh process, forked from one that has imported all and done nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, step, given, named))
    process.start()
    theirs.close()
    try:
        answer: Measured[_Value] = ours.recv()
    except EOFError as error:
        message = f"The step {step.__name__} broke off."
        raise BenchmarkError(message, hint="Its own message stands above.") from error
    finally:
        process.join()
    return answer


def median_seconds(runs: Sequence[Measured[object]]) -> float:
    """Return the median wall time."""
    return median(run.seconds for run in runs)


def _run(
    pipe: Connection,
    step: Callable[..., _Value],
    given: tuple[object, ...],
    named: dict[str, object],
) -> None:
    stopwatch = Stopwatch()
    value = step(stopwatch, *given, **named)
    # Linux counts kibibytes.
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(Measured(value, stopwatch.seconds, stopwatch.cpu_seconds, peak_mib))
