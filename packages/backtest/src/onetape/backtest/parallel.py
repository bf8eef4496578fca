"""A pool of forked processes that evaluate jobs, for optimizations and bias checks.

The processes inherit the candles by the fork, so nothing large is copied or pickled; jobs and
results pass through `concurrent.futures`. A process gets chunks of consecutive jobs, because it
caches indicators. If a job kills its process, only that job is lost.
"""

import contextlib
import gc
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

from onetape.core.message_text import format_error

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.process import BaseProcess

#: Signals that end an optimization or a check in addition to Ctrl-C; worker processes ignore them.
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
#: Signals that may reach the whole process group; only the parent handles them.
_PARENT_SIGNALS: Final = (signal.SIGINT, *ENDING_SIGNALS)
#: Number of chunks for each process where there are many jobs, and maximum number of their jobs.
_CHUNKS_PER_PROCESS: Final = 8
_MAX_JOBS_PER_CHUNK: Final = 32
#: Options of glibc's `mallopt`: size from which memory gets separate pages, and size of free memory
#: that is not returned to the system; and a size above that of any column.
_OWN_PAGES, _KEPT_FREE, _NEVER_BYTES = -3, -1, 1 << 30
#: Option of `prctl(2)` on Linux: the signal that a process gets when its parent ends.
_PARENT_DEATH_SIGNAL: Final = 1

#: Function that evaluates one job; set in worker processes only.
_work: Callable[[Any], bytes] | None = None

#: Consecutive jobs: index and content of each.
_Chunk = list[tuple[int, Any]]


class WorkerPool:
    """Processes that evaluate jobs; a context manager, which kills them at its end."""

    def __init__(
        self, work: Callable[[Any], bytes], processes: int, closed: Sequence[int] = ()
    ) -> None:
        """Take the work; `start` or the context forks the processes.

        Args:
            work: Returns the result of a job; runs in the processes. Where it raises, the job has
                no result.
            processes: Number of processes.
            closed: Descriptors that the processes close, such as that of a lock: a process that
                outlives its parent must not hold it.
        """
        self._work = work
        self._processes = processes
        self._closed = closed
        self._pool: ProcessPoolExecutor | None = None
        self._children: list[BaseProcess] = []

    def __enter__(self) -> "WorkerPool":
        """Fork the worker processes."""
        gc.freeze()  # Otherwise garbage collection in a child would copy every page of the parent.
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the processes and wait for their end."""
        self._stop()
        gc.unfreeze()

    def map_unordered(self, jobs: Sequence[Any]) -> Generator[tuple[int, bytes | None]]:
        """Yield the index and the result of each job, in the order in which they are done.

        A result is None where the job killed its process, or where the work raised an error. To
        find the job that killed a process, chunks are evaluated again, one at a time and by halves.
        """
        size = len(jobs) // (self._processes * _CHUNKS_PER_PROCESS)
        size = min(max(size, 1), _MAX_JOBS_PER_CHUNK)
        waiting = deque(range(0, len(jobs), size))
        running: dict[Future[list[bytes | None]], _Chunk] = {}
        while waiting or running:
            while waiting and len(running) < 2 * self._processes:
                start = waiting.popleft()
                chunk = [(number, jobs[number]) for number in range(start, len(jobs))[:size]]
                self._submit(chunk, running)
            done, broken = _collect_results(running)
            yield from done
            if broken:
                self._restart()
                for chunk in broken:
                    yield from self._retry(chunk)

    def _submit(self, chunk: _Chunk, running: "dict[Future[list[bytes | None]], _Chunk]") -> None:
        from concurrent.futures.process import BrokenProcessPool

        jobs = [job for _, job in chunk]
        try:
            assert self._pool is not None  # noqa: S101 - the context has started it
            running[self._pool.submit(_evaluate_chunk, jobs)] = chunk
        except BrokenProcessPool:  # a process has ended since
            from concurrent.futures import Future

            failed: Future[list[bytes | None]] = Future()
            failed.set_exception(BrokenProcessPool())
            running[failed] = chunk

    def _retry(self, chunk: _Chunk) -> Generator[tuple[int, bytes | None]]:
        """Evaluate a chunk while no other one runs; if that kills the process, each half alone."""
        running: dict[Future[list[bytes | None]], _Chunk] = {}
        self._submit(chunk, running)
        done, broken = _collect_results(running)
        yield from done
        if not broken:
            return
        self._restart()
        if len(chunk) == 1:
            yield chunk[0][0], None
            return
        middle = len(chunk) // 2
        yield from self._retry(chunk[:middle])
        yield from self._retry(chunk[middle:])

    def _restart(self) -> None:
        self._stop()
        self._start()

    def _start(self) -> None:
        """Fork all processes, before this process has a thread of the pool."""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        before = set(multiprocessing.active_children())
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_prepare_worker,
            initargs=(os.getpid(), held, tuple(self._closed), self._work),
        )
        try:
            # Signals are blocked here, because a child would run the parent's handler; the pool's
            # thread leaves them blocked.
            signal.pthread_sigmask(signal.SIG_BLOCK, _PARENT_SIGNALS)
            with warnings.catch_warnings():
                # Only idle threads exist now: NumPy's, whose BLAS supports forks, and a progress
                # bar's.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pool.submit(_evaluate_chunk, [])
            children = set(multiprocessing.active_children()) - before
            self._children = sorted(children, key=lambda child: child.pid or 0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _stop(self) -> None:
        for child in self._children:
            child.kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for child in self._children:
            child.join()
        self._pool, self._children = None, []


def map_unordered(
    work: Callable[[Any], bytes], jobs: Sequence[Any], processes: int
) -> Generator[tuple[int, bytes | None]]:
    """Yield the index and the result of each job, evaluated by a new pool.

    Args:
        work: See `WorkerPool`.
        jobs: Jobs in the order in which neighbours share a process.
        processes: Maximum number of processes; there are never more than jobs.
    """
    if jobs:
        with WorkerPool(work, min(processes, len(jobs))) as pool:
            yield from pool.map_unordered(jobs)


def _collect_results(
    running: "dict[Future[list[bytes | None]], _Chunk]",
) -> tuple[list[tuple[int, bytes | None]], list[_Chunk]]:
    """Wait until a chunk is done; return the results so far, and chunks lost by a broken pool."""
    from concurrent.futures import FIRST_COMPLETED, wait
    from concurrent.futures.process import BrokenProcessPool

    results: list[tuple[int, bytes | None]] = []
    broken: list[_Chunk] = []
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        chunk = running.pop(future)
        try:
            found = future.result()
        except BrokenProcessPool:
            broken.append(chunk)
        else:
            results += [(number, one) for (number, _), one in zip(chunk, found, strict=True)]
    if broken:  # The pool fails all jobs that it had.
        broken += running.values()
        running.clear()
    return results, broken


def _prepare_worker(
    parent: int,
    held: Collection[int],
    closed: Sequence[int],
    work: Callable[[Any], bytes],
) -> None:
    """Prepare a worker process; signals are blocked until it is prepared."""
    global _work  # a worker process evaluates one work
    end_with_parent(parent)
    for number in _PARENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    for descriptor in closed:
        os.close(descriptor)
    _reuse_memory()
    _work = work


def _evaluate_chunk(jobs: Sequence[Any]) -> list[bytes | None]:
    """Return the results of jobs, in a worker process; None where the work raised."""
    return [_evaluate_one(job) for job in jobs]


def _evaluate_one(job: Any) -> bytes | None:
    assert _work is not None  # noqa: S101 - `_prepare_worker` has set it
    try:
        return _work(job)
    except BaseException as error:
        sys.stderr.write(
            f"backtester: worker process: {type(error).__name__}: {format_error(error)}\n"
        )
        sys.stderr.flush()
        return None


def _reuse_memory() -> None:
    """Make the C library reuse the memory of freed columns, if it has the setting.

    Otherwise it returns the memory to the system, which clears every page of the next column; that
    takes a third of the time of a combination.
    """
    import ctypes  # NumPy has imported it

    with contextlib.suppress(AttributeError, OSError):
        c_library = ctypes.CDLL(None)
        for option in (_OWN_PAGES, _KEPT_FREE):
            c_library.mallopt(option, _NEVER_BYTES)


def end_with_parent(parent: int) -> None:
    """Make the system kill this process when its parent ends for any reason.

    On systems other than Linux it does nothing.

    Args:
        parent: Process id of the parent; if it has ended already, this process ends at once.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def count_processors() -> int:
    """Return the number of processors that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
