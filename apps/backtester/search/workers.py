"""Work shared among forked processes, which have in memory what their parent had.

Candles are handed over by the fork: nothing is copied or pickled. A job is a number, its answer a
few bytes; each process has a socket of its own, so that the death of one is noticed at once, and
that of the parent by all: their sockets end.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Final, NoReturn

_JOB: Final = struct.Struct("<q")
#: Number of the job, and how many bytes of an answer follow.
_ANSWER: Final = struct.Struct("<qq")
#: Jobs that a process is given ahead, so that it need not wait for the parent.
_AHEAD: Final = 2
#: The GNU C library's names of how large a piece of memory gets pages of its own, and of how much
#: free memory is kept; and a size that no column reaches.
_OWN_PAGES, _KEPT_FREE, _NEVER_BYTES = -3, -1, 1 << 30


class _Worker:
    """A child process, and the parent's end of its socket."""

    def __init__(self, work: Callable[[int], bytes], others: Sequence["_Worker"]) -> None:
        """Fork it."""
        self.socket, theirs = socket.socketpair()
        self.jobs: list[int] = []
        """Given and not answered, in order."""
        self.buffer = bytearray()
        with warnings.catch_warnings():
            # NumPy's threads are idle, and its BLAS knows of forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process_id = os.fork()
        if self.process_id == 0:
            self.socket.close()
            for other in others:
                # A copy here would hide the parent's end from the process that waits for it.
                other.socket.close()
            _serve(theirs, work)
        theirs.close()

    def give(self, job: int) -> None:
        """Give it a job; a process that is gone is noticed when it is listened to."""
        self.jobs.append(job)
        try:
            self.socket.sendall(_JOB.pack(job))
        except OSError:
            return

    def answers(self) -> list[tuple[int, bytes]] | None:
        """Return what it has answered since, or None where it is gone."""
        try:
            received = self.socket.recv(1 << 20)
        except OSError:
            return None
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

    def end(self) -> None:
        """End it, whatever it is at."""
        self.socket.close()
        os.kill(self.process_id, signal.SIGKILL)  # not waited for yet, so the number is still its
        os.waitpid(self.process_id, 0)


def shared(
    work: Callable[[int], bytes], jobs: Sequence[int], processes: int
) -> Generator[tuple[int, bytes | None]]:
    """Return each job with its answer, in the order in which they are done.

    A process that dies takes the job it was at with it: its answer is None, and another process
    takes its place.

    Args:
        work: Gives the answer of a job; runs in the children and must not raise.
        jobs: Their numbers.
        processes: How many at a time; they are forked before this returns.
    """
    answers = _shared(work, jobs, processes)
    next(answers)
    return answers


def _shared(
    work: Callable[[int], bytes], jobs: Sequence[int], processes: int
) -> Generator[tuple[int, bytes | None]]:
    """Give a first pair that means nothing once the processes are there, then as `shared`."""
    waiting = list(reversed(jobs))
    workers: list[_Worker] = []
    gc.freeze()  # else collecting garbage in a child would copy every page of the parent
    selector = selectors.DefaultSelector()

    def start() -> None:
        worker = _Worker(work, workers)
        workers.append(worker)
        selector.register(worker.socket, selectors.EVENT_READ, worker)
        feed(worker)

    def feed(worker: _Worker) -> None:
        while waiting and len(worker.jobs) < _AHEAD:
            worker.give(waiting.pop())

    try:
        for _ in range(min(processes, len(waiting))):
            start()
        yield -1, None
        while any(worker.jobs for worker in workers):
            for ready, _ in selector.select():
                worker: _Worker = ready.data
                answers = worker.answers()
                if answers is None:
                    selector.unregister(worker.socket)
                    workers.remove(worker)
                    worker.end()
                    lost = worker.jobs[:1]
                    waiting.extend(reversed(worker.jobs[1:]))
                    if waiting:
                        start()
                    yield from ((job, None) for job in lost)
                    continue
                feed(worker)
                yield from answers
    finally:
        selector.close()
        for worker in workers:
            worker.end()
        gc.unfreeze()


def _serve(parent: socket.socket, work: Callable[[int], bytes]) -> NoReturn:
    """Answer jobs until the parent has none, or is gone; never returns into the parent's code."""
    code = 0
    try:
        # Ctrl-C reaches the whole group: the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _keep_memory()
        stream = parent.makefile("rb")
        while job := stream.read(_JOB.size):
            (number,) = _JOB.unpack(job)
            answer = work(number)
            parent.sendall(_ANSWER.pack(number, len(answer)) + answer)
    except OSError:
        code = 1  # the parent is gone, and with it whoever wants the answer
    except BaseException as error:
        sys.stderr.write(f"backtester: search process: {type(error).__name__}: {error}\n")
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
