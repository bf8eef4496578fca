"""The driver's pool: evaluates combinations by the workers of a cluster.

The interface is that of `onetape.backtest.parallel.WorkerPool`. Only the driver writes results, so
a worker or the scheduler may be killed at any time.
"""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any, Final

import msgspec
from msgspec import Struct

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_error
from onetape.optimization.cluster.address import (
    CONNECT_SECONDS,
    ClusterAddress,
    configure_dask,
    make_security,
)
from onetape.optimization.cluster.work_file import ClusterWork, encode_work
from onetape.optimization.cluster.worker_tasks import (
    WorkerState,
    evaluate_jobs,
    prepare_evaluator,
    store_work_file,
)
from onetape.optimization.evaluate import Job

#: Maximum size of the jobs of one request, bytes.
MAX_REQUEST_BYTES: Final = 1_000
#: Requests of a worker's thread that are under way: one is evaluated while another one travels.
REQUESTS_PER_THREAD: Final = 3
#: Number of chunks for each thread, if there are enough jobs; several, so that all threads end at
#: about the same time.
CHUNKS_PER_THREAD: Final = 8
#: Maximum time between two checks for new workers, seconds.
WORKER_CHECK_SECONDS: Final = 1.0
#: Time that the driver waits for a worker where there is none, seconds.
WORKER_SECONDS: Final = 300.0
#: Number of workers that end while they evaluate a combination, after which it counts as failed.
_MAX_LOST_WORKERS: Final = 2
_ENCODER: Final = msgspec.msgpack.Encoder()


class _Chunk(Struct, frozen=True):
    """Jobs that one request evaluates."""

    numbers: Sequence[int]
    """Index of each job among all jobs."""
    jobs: Sequence[Job]
    """Jobs of these indices."""
    lost_workers: int = 0
    """Number of workers that ended while they evaluated these jobs and no others."""

    def halve(self) -> list["_Chunk"]:
        """Return the jobs in two halves; a single job with one more lost worker."""
        if len(self.numbers) == 1:
            return [_Chunk(self.numbers, self.jobs, self.lost_workers + 1)]
        middle = len(self.numbers) // 2
        return [
            _Chunk(self.numbers[:middle], self.jobs[:middle]),
            _Chunk(self.numbers[middle:], self.jobs[middle:]),
        ]


class ClusterPool:
    """Workers of a cluster; a context manager that is connected to its scheduler."""

    def __init__(
        self, address: ClusterAddress, work: ClusterWork, note: Callable[[str], object]
    ) -> None:
        """Prepare the pool; entering the context connects.

        Args:
            address: Address of the scheduler.
            work: Candles, rules and strategy for the evaluations.
            note: Shows a line about workers.
        """
        self._address = address
        self._work = work
        self._note = note
        self._digest, self._content = "", b""
        self._client: Any = None
        """Client of Dask, whose methods have no types; None: not connected."""
        self._known = set[str]()
        """Addresses of the workers whose states `_prepare` has requested."""
        self._threads: dict[str, int] = {}
        """Number of threads of each worker that can evaluate, by its address."""
        self._computers = set[str]()
        """Computers that have received the file."""
        self._executor: Any = None

    def __enter__(self) -> "ClusterPool":
        """Connect to the scheduler.

        Raises:
            ConfigurationError: no scheduler responds, its certificates differ, or Dask is missing.
        """
        configure_dask()
        from distributed import Client

        self._digest, self._content = encode_work(self._work)
        try:
            with warnings.catch_warnings():
                # Versions are compared by `prepare_evaluator`.
                warnings.simplefilter("ignore")
                self._client = Client(
                    self._address.text,
                    security=make_security(self._address),
                    timeout=CONNECT_SECONDS,
                    set_as_default=False,
                )
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigurationError(self._explain_connection(error)) from error
        return self

    def __exit__(self, *error: object) -> None:
        """Disconnect; requests under way are cancelled."""
        client, self._client = self._client, None
        if client is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client.close(timeout=2)

    def map_unordered(self, jobs: Sequence[Job]) -> Generator[tuple[int, bytes | None]]:
        """Yield the index and the result of each job, in the order in which they are done.

        A result is None where the job killed its worker twice while it was evaluated alone, or
        where the code raised.

        Raises:
            ConfigurationError: the scheduler is lost, or no worker is left.
        """
        self._update_workers()
        max_jobs = max(1, len(jobs) // (CHUNKS_PER_THREAD * sum(self._threads.values())))
        waiting = deque(_make_chunks(jobs, max_jobs))
        running: dict[Future[list[bytes | None]], _Chunk] = {}
        suspects = deque[_Chunk]()
        while waiting or running or suspects:
            self._update_workers()
            is_alone = bool(suspects) and not running
            if is_alone:
                self._submit(suspects.popleft(), running)
            max_running = REQUESTS_PER_THREAD * sum(self._threads.values())
            while waiting and not suspects and not is_alone and len(running) < max_running:
                self._submit(waiting.popleft(), running)
            for future in wait(running, WORKER_CHECK_SECONDS, FIRST_COMPLETED).done:
                chunk = running.pop(future)
                found = self._get_result(future)
                if found is not None:
                    yield from zip(chunk.numbers, found, strict=True)
                elif not is_alone:
                    # If a job ends a worker, all requests that wait in that worker fail as well.
                    suspects.append(chunk)
                elif chunk.lost_workers + 1 >= _MAX_LOST_WORKERS and len(chunk.numbers) == 1:
                    yield chunk.numbers[0], None
                else:
                    suspects.extend(chunk.halve())

    def _submit(self, chunk: _Chunk, running: "dict[Future[list[bytes | None]], _Chunk]") -> None:
        encoded = _ENCODER.encode(list(chunk.jobs))
        running[self._executor.submit(evaluate_jobs, self._digest, encoded)] = chunk

    def _get_result(self, future: "Future[list[bytes | None]]") -> list[bytes | None] | None:
        """Return the results of a request; None: its worker has ended.

        Raises:
            ConfigurationError: the scheduler is lost.
        """
        from distributed.scheduler import KilledWorker, NoValidWorkerError

        try:
            return future.result()
        except (KilledWorker, NoValidWorkerError):
            return None
        except (CancelledError, OSError) as error:
            raise self._make_loss_error() from error

    def _update_workers(self) -> None:
        """Prepare new workers, and remove those that have ended; wait until there is a worker.

        Raises:
            ConfigurationError: the scheduler is lost, or no worker comes in time.
        """
        import time

        began, has_noted = time.monotonic(), False
        while True:
            present = self._call(_read_threads)
            changed = set(present) != self._known
            if changed:
                self._prepare(set(present) - self._known)
                self._known = set(present)
                self._threads = {
                    one: count for one, count in self._threads.items() if one in present
                }
                self._executor = self._call(self._make_executor)
            if self._threads:
                return
            if not has_noted:
                has_noted = True
                self._note(
                    f"{self._address.text} has no worker that can evaluate; waiting for one: "
                    f"backtester cluster join {self._address.text}"
                )
            if time.monotonic() - began > WORKER_SECONDS:
                raise ConfigurationError(
                    f"--cluster {self._address.text}: no worker came within {WORKER_SECONDS:.0f} s;"
                    " results so far are saved; add one with backtester cluster join, and run the "
                    "same command again"
                )
            time.sleep(WORKER_CHECK_SECONDS)

    def _make_executor(self, client: Any) -> Any:
        return client.get_executor(
            pure=False, workers=sorted(self._threads), allow_other_workers=False
        )

    def _prepare(self, new: set[str]) -> None:
        """Compare the code of new workers, and send the file to computers that lack it."""
        if not new:
            return
        states = self._request_states(new)
        missing = [one for one, state in states.items() if state.kind == "missing"]
        for address in missing:
            computer = states[address].computer
            if computer not in self._computers:
                self._send_file(address)
                self._computers.add(computer)
        if missing:
            states |= self._request_states(missing)
        threads = self._call(_read_threads)
        for address, state in states.items():
            if state.kind == "ready":
                self._threads[address] = int(threads.get(address, 1))
            elif state.kind == "refused":
                self._note(f"worker {address} is not used: {state.reason}")

    def _request_states(self, workers: Iterable[str]) -> dict[str, WorkerState]:
        """Return whether workers can evaluate; a worker that has ended is not in the result."""
        digest, addresses = self._digest, sorted(workers)

        def request_states(client: Any) -> dict[str, Any]:
            found: dict[str, Any] = client.run(
                prepare_evaluator, digest, workers=addresses, on_error="return"
            )
            return found

        found: dict[str, Any] = self._call(request_states)
        states: dict[str, WorkerState] = {}
        for address, state in found.items():
            if isinstance(state, WorkerState):
                states[address] = state
            elif not isinstance(state, OSError):
                states[address] = WorkerState("refused", "", format_error(state))
        return states

    def _send_file(self, address: str) -> None:
        """Send the file to a computer, by one of its workers."""
        digest, content = self._digest, self._content

        def send(client: Any) -> str:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the size of the file
                found: str = client.submit(
                    store_work_file,
                    digest,
                    content,
                    workers=[address],
                    allow_other_workers=False,
                    pure=False,
                ).result(WORKER_SECONDS)
            return found

        failure = self._call(send)
        if failure:
            self._note(f"worker {address} cannot store the candles: {failure}")

    def _call(self, request: Callable[[Any], Any]) -> Any:
        """Return the result of a request to the scheduler.

        Raises:
            ConfigurationError: the scheduler is lost.
        """
        assert self._client is not None  # noqa: S101 - the context has connected
        try:
            return request(self._client)
        except (OSError, TimeoutError, CancelledError, ValueError) as error:
            raise self._make_loss_error() from error

    def _make_loss_error(self) -> ConfigurationError:
        return ConfigurationError(
            f"--cluster {self._address.text}: the scheduler does not respond any more; results so "
            "far are saved; start it again, and run the same command again"
        )

    def _explain_connection(self, error: Exception) -> str:
        where = f"--cluster {self._address.text}"
        chain = [error]
        while chain[-1].__cause__ is not None and isinstance(chain[-1].__cause__, Exception):
            chain.append(chain[-1].__cause__)
        if any("SSL" in f"{type(one).__name__} {one}" for one in chain):
            return f"{where}: its certificates are not those of --tls {self._address.tls}"
        return (
            f"{where}: no scheduler responds there; start one: backtester cluster start --listen "
            f"{self._address.host}:{self._address.port}"
        )


def _read_threads(client: Any) -> dict[str, int]:
    """Return the number of threads of each worker, by its address."""
    found: dict[str, int] = client.nthreads()
    return found


def _make_chunks(jobs: Sequence[Job], max_jobs: int) -> Generator[_Chunk]:
    """Yield chunks of consecutive jobs: as many as fit into a request, and at most `max_jobs`."""
    numbers: list[int] = []
    size = 0
    for number, job in enumerate(jobs):
        job_size = len(_ENCODER.encode(job))
        if numbers and (size + job_size > MAX_REQUEST_BYTES or len(numbers) == max_jobs):
            yield _Chunk(numbers, [jobs[one] for one in numbers])
            numbers, size = [], 0
        numbers.append(number)
        size += job_size
    if numbers:
        yield _Chunk(numbers, [jobs[one] for one in numbers])
