"""Work shared among forked processes, which have in memory what their parent had.

Candles are handed over by the fork: nothing is copied or pickled. A job is a number, its answer a
few bytes; each process has pipes of its own, so that the death of one is noticed at once. The death
of the parent ends all: the system kills them where it can (Linux), and their pipes end. Jobs that
follow each other go to one process as far as possible, because it may have use for what it worked
out before.
"""

import contextlib
import gc
import itertools
import os
import select
import signal
import struct
import sys
import warnings
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Final, NoReturn

from onetape.core.words import said

#: Signals that end an optimization or a check in addition to Ctrl-C; worker processes ignore them.
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
_JOB: Final = struct.Struct("<q")
#: Number of the job, and how many bytes of an answer follow.
_ANSWER: Final = struct.Struct("<qq")
#: Jobs that a process is given ahead, so that it need not wait for the parent.
_AHEAD: Final = 2
#: The GNU C library's names of how large a piece of memory gets pages of its own, and of how much
#: free memory is kept; and a size that no column reaches.
_OWN_PAGES, _KEPT_FREE, _NEVER_BYTES = -3, -1, 1 << 30
#: Signals that may reach the whole group: the parent alone decides what they mean.
_PARENTS: Final = (signal.SIGINT, *ENDING_SIGNALS)
#: Of Linux, `prctl(2)`: the signal that a process is sent when its parent is gone.
_PARENT_GONE: Final = 1


class _Worker:
    """A child process, and the parent's ends of its pipes."""

    def __init__(
        self, work: Callable[[int], bytes], waiting: deque[int], not_its: Sequence[int]
    ) -> None:
        """Fork it; it closes the descriptors that are not its."""
        their_jobs, self._jobs = os.pipe()
        self.answers_end, their_answers = os.pipe()
        self.waiting = waiting
        """Jobs meant for it, which others take when they have none left."""
        self.jobs: list[int] = []
        """Given and not answered, in order."""
        self.buffer = bytearray()
        parent = os.getpid()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # One that comes now would run the parent's handler in the child.
            signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS)
            with warnings.catch_warnings():
                # NumPy's threads are idle, and its BLAS knows of forks.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process_id = os.fork()
            if self.process_id == 0:
                _begin(parent, held, (*not_its, *self.ends))
                _serve(their_jobs, their_answers, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(their_jobs)
        os.close(their_answers)

    def give(self, job: int) -> None:
        """Give it a job; a process that is gone is noticed when it is listened to."""
        self.jobs.append(job)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._jobs, _JOB.pack(job))

    def answers(self) -> list[tuple[int, bytes]] | None:
        """Return what it has answered since, or None where it is gone."""
        received = os.read(self.answers_end, 1 << 20)
        if not received:
            return None
        self.buffer += received
        found: list[tuple[int, bytes]] = []
        while len(self.buffer) >= _ANSWER.size:
            job, length = _ANSWER.unpack_from(self.buffer)
            end = _ANSWER.size + length
            if len(self.buffer) < end:
                break
            found.append((job, bytes(self.buffer[_ANSWER.size : end])))
            del self.buffer[:end]
            self.jobs.remove(job)
        return found

    def kill(self) -> None:
        """End it, whatever it is at."""
        self.close()
        os.kill(self.process_id, signal.SIGKILL)  # not waited for yet, so the number is still its

    def wait(self) -> None:
        """Wait for its end."""
        os.waitpid(self.process_id, 0)

    @property
    def ends(self) -> tuple[int, int]:
        """Return the parent's ends of its pipes."""
        return self._jobs, self.answers_end

    def close(self) -> None:
        """Close the parent's ends: it ends when it has read that there are no more jobs."""
        for end in self.ends:
            os.close(end)


class _Crew:
    """The processes that share jobs."""

    def __init__(self, work: Callable[[int], bytes], not_theirs: Sequence[int]) -> None:
        """Begin with nobody."""
        self._work = work
        self._not_theirs = not_theirs
        self._workers: dict[int, _Worker] = {}
        """By the end of the pipe that their answers come from."""
        self._poll = select.poll()

    def start(self, waiting: deque[int]) -> None:
        """Start a process for these jobs."""
        # A copy of a pipe's end would hide the parent's from the process that waits for it.
        pipes = [end for worker in self._workers.values() for end in worker.ends]
        worker = _Worker(self._work, waiting, (*self._not_theirs, *pipes))
        self._workers[worker.answers_end] = worker
        self._poll.register(worker.answers_end, select.POLLIN)
        self._feed(worker)

    def answers(self) -> Generator[tuple[int, bytes | None]]:
        """Return each job with its answer; None for one that its process died at."""
        while any(worker.jobs for worker in self._workers.values()):
            for ready, _ in self._poll.poll():
                worker = self._workers[ready]
                answers = worker.answers()
                if answers is None:
                    self._replace(worker)
                    yield from ((job, None) for job in worker.jobs[:1])
                else:
                    self._feed(worker)
                    yield from answers

    def end(self) -> None:
        """End all of them, whatever they are at."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.wait()

    def _feed(self, worker: _Worker) -> None:
        while len(worker.jobs) < _AHEAD and (worker.waiting or self._take_over(worker.waiting)):
            worker.give(worker.waiting.popleft())

    def _take_over(self, waiting: deque[int]) -> bool:
        """Move the last half of what another process has left here; return whether it was any."""
        most = max((worker.waiting for worker in self._workers.values()), key=len)
        waiting.extendleft([most.pop() for _ in range((len(most) + 1) // 2)])
        return bool(waiting)

    def _replace(self, dead: _Worker) -> None:
        """Start another process for what one that died has left."""
        self._poll.unregister(dead.answers_end)
        del self._workers[dead.answers_end]
        dead.kill()
        dead.wait()
        dead.waiting.extendleft(reversed(dead.jobs[1:]))
        if dead.waiting or any(worker.waiting for worker in self._workers.values()):
            self.start(dead.waiting)


def shared(
    work: Callable[[int], bytes],
    jobs: Sequence[int],
    processes: int,
    not_theirs: Sequence[int] = (),
) -> Generator[tuple[int, bytes | None]]:
    """Return each job with its answer, in the order in which they are done.

    A process that dies takes the job it was at with it: its answer is None, and another process
    takes its place.

    Args:
        work: Gives the answer of a job; runs in the children and must not raise.
        jobs: Their numbers.
        processes: How many at a time; they are forked before this returns.
        not_theirs: Descriptors that they close, such as that of a lock: one that outlives the
            parent must not keep it.
    """
    answers = _shared(work, jobs, processes, not_theirs)
    next(answers)
    return answers


def _shared(
    work: Callable[[int], bytes], jobs: Sequence[int], processes: int, not_theirs: Sequence[int]
) -> Generator[tuple[int, bytes | None]]:
    """Give a first pair that means nothing once the processes are there, then as `shared`."""
    crew = _Crew(work, not_theirs)
    gc.freeze()  # else collecting garbage in a child would copy every page of the parent
    try:
        for waiting in _blocks(jobs, processes):
            crew.start(waiting)
        yield -1, None
        yield from crew.answers()
    finally:
        crew.end()
        gc.unfreeze()


def _blocks(jobs: Sequence[int], processes: int) -> list[deque[int]]:
    """Return the jobs in as many parts as there are processes, none of them empty."""
    count = min(processes, len(jobs))
    ends = [len(jobs) * number // count for number in range(count + 1)] if count else [0]
    return [deque(jobs[first:last]) for first, last in itertools.pairwise(ends)]


def _begin(parent: int, held: Collection[int], not_its: Sequence[int]) -> None:
    """Let go of what is the parent's; the signals are blocked until then."""
    try:
        end_with_parent(parent)
        for number in _PARENTS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for descriptor in not_its:
            os.close(descriptor)
    except BaseException as error:
        _write_error(error)
        os._exit(1)


def _serve(jobs_end: int, answers_end: int, work: Callable[[int], bytes]) -> NoReturn:
    """Answer jobs until the parent has none, or is gone; never returns into the parent's code."""
    code = 0
    try:
        _keep_memory()
        with open(jobs_end, "rb") as jobs, open(answers_end, "wb") as answers:
            while job := jobs.read(_JOB.size):
                (number,) = _JOB.unpack(job)
                answer = work(number)
                answers.write(_ANSWER.pack(number, len(answer)) + answer)
                answers.flush()
    except OSError:
        code = 1  # the parent is gone, and with it whoever wants the answer
    except BaseException as error:
        _write_error(error)
        code = 1
    finally:
        os._exit(code)


def _keep_memory() -> None:
    """Let freed columns be used again, where the C library can be told to.

    Else it gives each one back to the system, which has to clear every page of the next one: a
    third of the time of a combination.
    """
    import ctypes  # NumPy has imported it

    with contextlib.suppress(AttributeError, OSError):
        c_library = ctypes.CDLL(None)
        for what in (_OWN_PAGES, _KEPT_FREE):
            c_library.mallopt(what, _NEVER_BYTES)


def _write_error(error: BaseException) -> None:
    """Write why a worker process ends, on stderr: its parent only sees that it is gone."""
    sys.stderr.write(f"backtester: worker process: {type(error).__name__}: {said(error)}\n")
    sys.stderr.flush()


def end_with_parent(parent: int) -> None:
    """Let the system kill this process when its parent is gone, however that ended.

    Where the system cannot (it is not Linux), nothing changes.

    Args:
        parent: Its process id; where it is gone already, this process ends.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PARENT_GONE, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def count_processors() -> int:
    """Return how many processors this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
