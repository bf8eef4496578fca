"""The helper process: forks the workers that run strategies, and ends them with all their children.

python -P -m trader.evaluator.helper (stdin: a socket to the trader)

The trader starts it as a new program, so that nothing of the trader (keys, database, sockets,
threads, CCXT) is in its memory, and it imports NumPy and the strategy package once for all workers.
On Linux it becomes the parent of processes whose worker has ended (PR_SET_CHILD_SUBREAPER), so that
no child of a strategy escapes from it.

For each worker the trader sends a message with two sockets: one for the worker's requests, and one
for its status. On the status socket the trader sends `c` to check for processes that the strategy
left running; the helper sends `.` if no process is left. When a worker ends, the helper sends the
reason and closes the socket; when the trader closes it, the helper ends the worker. When the trader
has ended, the helper and all workers end.
"""

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct

from trader.evaluator.output import StrategyOutput
from trader.evaluator.worker import serve

#: Message that starts a worker: its memory limit, bytes.
START: Final = struct.Struct("<Q")
#: Request on the status socket: is a process of the strategy left running?
CHECK: Final = b"c"
#: Reply on the status socket: no process is left.
CLEAN: Final = b"."
#: Maximum length of the reason why a worker ended, bytes.
MOST_REASON: Final = 200
#: Signals that the helper ignores: the trader decides when it ends.
_IGNORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: Options of the Linux call `prctl(2)`.
_SET_PDEATHSIG: Final = 1
_SET_CHILD_SUBREAPER: Final = 36
_PROC: Final = Path("/proc")


class _Worker(Struct):
    """A worker process that runs a strategy."""

    process_id: int
    status: socket.socket
    """Status socket to the trader."""


class _Helper:
    """The loop of the helper process, with its workers."""

    def __init__(self, control: socket.socket, output: StrategyOutput) -> None:
        """Initialise; no worker is started yet.

        Args:
            control: Socket from which start messages of the trader come.
            output: Pipe for the output of the strategies.
        """
        self._control = control
        self._output = output
        self._workers: dict[int, _Worker] = {}
        """Workers keyed by the file descriptor of their status socket."""
        self._exit_codes: dict[int, int] = {}
        """Exit statuses of children that have ended, as of `waitpid`, by process id."""
        self._child_ended, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._child_ended, False)
        signal.signal(signal.SIGCHLD, _ignore_signal)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._poll = select.poll()
        for descriptor in (control.fileno(), self._child_ended, output.descriptor):
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Start and end workers until the trader closes the control socket."""
        is_open = True
        while is_open:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._control.fileno():
                    is_open = self._start_worker()
                elif descriptor == self._child_ended:
                    with contextlib.suppress(BlockingIOError):
                        os.read(descriptor, 1 << 16)
                    self._reap()
                elif descriptor == self._output.descriptor:
                    self._output.forward()
                elif descriptor in self._workers:
                    self._carry_out_request(self._workers[descriptor])
        for worker in list(self._workers.values()):
            self._end(worker, "the trader ended")
        self._kill(())

    def _start_worker(self) -> bool:
        """Fork a worker; return False if the trader has closed the control socket."""
        message, descriptors, _, _ = socket.recv_fds(self._control, START.size, 2)
        if len(message) < START.size or len(descriptors) != 2:
            return False
        connection, status = (socket.socket(fileno=one) for one in descriptors)
        (memory_bytes,) = START.unpack(message)
        helper = os.getpid()
        process_id = os.fork()
        if process_id == 0:
            self._control.close()
            status.close()
            for other in self._workers.values():
                other.status.close()
            for descriptor in (self._child_ended, self._wake):
                os.close(descriptor)
            self._output.close()
            _run_worker(connection, helper, memory_bytes)
        connection.close()
        status.setblocking(False)
        self._workers[status.fileno()] = _Worker(process_id, status)
        self._poll.register(status.fileno(), select.POLLIN)
        return True

    def _carry_out_request(self, worker: _Worker) -> None:
        """Carry out a request on a worker's status socket: check it, or end it."""
        try:
            command = worker.status.recv(1)
        except BlockingIOError:
            return
        except OSError:
            command = b""
        if command == CHECK:
            left = self._count_left_running(worker)
            if left:
                self._end(worker, f"it left {left} child process{'es' * (left > 1)} running")
            else:
                _send(worker.status, CLEAN)
        else:
            self._end(worker, "the trader ended it")

    def _count_left_running(self, worker: _Worker) -> int:
        """Return the number of processes that a worker's strategy has left running."""
        spared = {one.process_id for one in self._workers.values()}
        if _read_children(worker.process_id) == set() and _read_children(os.getpid()) == spared:
            return 0
        parents = _read_parents()
        own = _find_descendants(worker.process_id, parents, ())
        return len(own) + len(_find_descendants(os.getpid(), parents, spared))

    def _reap(self) -> None:
        """Note children that have ended, and kill processes that their strategies left running."""
        self._collect()
        for worker in list(self._workers.values()):
            status = self._exit_codes.get(worker.process_id)
            if status is not None:
                self._end(worker, _describe_exit_status(status))
        self._exit_codes.clear()

    def _collect(self) -> None:
        """Note the exit statuses of all children that have ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process_id, status = os.waitpid(-1, os.WNOHANG)
                if process_id == 0:
                    return
                self._exit_codes[process_id] = status

    def _end(self, worker: _Worker, reason: str) -> None:
        """Kill a worker with all its descendants, then send the reason to the trader."""
        descriptor = worker.status.fileno()
        self._poll.unregister(descriptor)
        del self._workers[descriptor]
        self._kill((worker.process_id,))
        _send(worker.status, reason.encode()[:MOST_REASON])
        worker.status.close()

    def _kill(self, workers: Collection[int]) -> None:
        """Kill workers, and all descendants of the helper that belong to no other worker.

        Args:
            workers: Process ids of the workers.
        """
        for process_id in workers:
            if process_id not in self._exit_codes:
                # Its process group too, for systems without /proc.
                for kill in (os.killpg, os.kill):
                    with contextlib.suppress(OSError):
                        kill(process_id, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    self._exit_codes[process_id] = os.waitpid(process_id, 0)[1]
        spared = {one.process_id for one in self._workers.values()}
        while found := _find_descendants(os.getpid(), _read_parents(), spared):
            for process_id in found:
                with contextlib.suppress(OSError):
                    os.kill(process_id, signal.SIGKILL)
            # Children of a killed process become children of this process, and are found next time.
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(-1, 0)
                self._exit_codes[ended] = status
            self._collect()


def _ignore_signal(number: int, frame: object) -> None:
    """Handle SIGCHLD: do nothing, because the wake-up descriptor is readable then."""
    del number, frame


def _send(status: socket.socket, text: bytes) -> None:
    # The trader may be gone, or may have closed its end.
    with contextlib.suppress(OSError):
        status.send(text)


def _describe_exit_status(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"it ended its process with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"its process was ended by {name}"


def _read_children(process_id: int) -> set[int] | None:
    """Return the children of a process; None if the system does not list children.

    An empty result is exact. A list with entries may lack children while others end.
    """
    found: set[int] = set()
    try:
        for thread in (_PROC / str(process_id) / "task").iterdir():
            found.update(map(int, (thread / "children").read_bytes().split()))
    except (OSError, ValueError):
        return None
    return found


def _read_parents() -> dict[int, int]:
    """Return the parent of each process of this computer, by process id; empty without /proc."""
    parents: dict[int, int] = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold any character.
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] not in (b"X", b"Z"):
                parents[int(folder.name)] = int(fields[1])
    return parents


def _find_descendants(ancestor: int, parents: dict[int, int], spared: Collection[int]) -> set[int]:
    """Return all descendants of a process, except for spared processes and their descendants."""
    children: dict[int, list[int]] = {}
    for process_id, parent in parents.items():
        children.setdefault(parent, []).append(process_id)
    found: set[int] = set()
    todo = [ancestor]
    while todo:
        below = [one for one in children.get(todo.pop(), ()) if one not in spared]
        todo += [one for one in below if one not in found]
        found.update(below)
    return found


def _run_worker(connection: socket.socket, helper: int, memory_bytes: int) -> NoReturn:
    """Run a worker in the forked process: in its own session, with its memory limit.

    The kernel kills it when the helper ends.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _call_prctl(_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() == helper:
            _limit_memory(memory_bytes)
            serve(connection)
            code = 0
    except OSError:
        code = 1  # the strategy's code has closed the connection, or the trader is gone
    finally:
        os._exit(code)


def _limit_memory(most_bytes: int) -> None:
    """Limit the address space; let the system kill this process first if memory runs out."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with contextlib.suppress(OSError):
        (_PROC / "self" / "oom_score_adj").write_text("1000", encoding="ascii")


def _call_prctl(option: int, value: int) -> None:
    """Call `prctl`, if the system has that call."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Run the helper; standard input is the control socket."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _call_prctl(_SET_CHILD_SUBREAPER, 1)
    # A helper that a strategy has stopped continues when the trader ends, and ends all workers.
    _call_prctl(_SET_PDEATHSIG, int(signal.SIGCONT))
    # Output of a strategy goes to stderr, also output of C code.
    output = StrategyOutput()
    gc.freeze()
    try:
        _Helper(control, output).run()
    finally:
        output.end()


if __name__ == "__main__":
    main()
    sys.exit(0)
