"""The queue of dials to an exchange, which keeps all programs together under its limit.

Binance allows 300 dials in five minutes from one internet address. Programs that share a file dial
one after the other, at most 150 times in five minutes. The file also has the time of the last
connection: once one program is connected, the others need not wait any more.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

#: Interval between two dials of all programs together, seconds: 100 in five minutes.
DIAL_SECONDS = 3.0
#: Number of dials that may be sent at once after a time without dials.
BURST_DIALS = 50
#: Interval in which a waiting program checks whether another one is connected, seconds.
CHECK_SECONDS = 0.5
#: A stored time that is further in the future than this, seconds, was stored before the computer
#: was restarted.
_LONGEST_QUEUE_SECONDS: Final = 3_600.0
#: Content of the file: time up to which earlier dials fill the queue, and time of the last
#: connection, both monotonic seconds.
_TIMES: Final = struct.Struct("<dd")
#: Number of attempts to get a lock that another program holds, and the pause between two, seconds.
_LOCK_TRIES: Final = 50
_LOCK_PAUSE_SECONDS: Final = 0.005


class DialQueue:
    """The queue of dials of one exchange, in a file that programs share, or in memory."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Initialise; the shared file is opened when it is needed.

        Args:
            path: Shared file, which is created if missing; None: the queue is not shared.
            clock: The monotonic clock of the computer, seconds.
        """
        self._path = path
        self._clock = clock
        self._guard = threading.Lock()
        self._times = (0.0, 0.0)
        self.fault: str | None = None
        """Reason why the shared file cannot be used; the queue is then local to this object."""

    async def reserve(self) -> float:
        """Take the next place in the queue; return the seconds until the dial may be sent."""
        return await self._run_in_thread(self._reserve)

    async def note_connection(self) -> None:
        """Store that this program is connected, so that waiting programs dial at once."""
        await self._run_in_thread(self._note_connection)

    async def read_last_connection(self) -> float:
        """Return the time of the last connection of any program, monotonic seconds; 0: none."""
        return await self._run_in_thread(self._read_last_connection)

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        """Run a function in a thread if it uses the file, which could block the event loop."""
        return work() if self._path is None else await asyncio.to_thread(work)

    def _reserve(self) -> float:
        with self._locking_times() as write:
            now, free = self._clock(), self._times[0]
            if not 0 <= free <= now + _LONGEST_QUEUE_SECONDS:
                free = 0.0
            write(max(free, now) + DIAL_SECONDS, self._times[1])
            return max(0.0, free - BURST_DIALS * DIAL_SECONDS - now)

    def _note_connection(self) -> None:
        with self._locking_times() as write:
            write(self._times[0], self._clock())

    def _read_last_connection(self) -> float:
        with self._locking_times():
            seconds = self._times[1]
        return seconds if 0 <= seconds <= self._clock() else 0.0

    @contextlib.contextmanager
    def _locking_times(self) -> Generator[Callable[[float, float], None]]:
        """Hold the file's lock and read its times; yield the function that writes them."""
        with self._guard:
            yield from self._hold_file_lock()

    def _hold_file_lock(self) -> Generator[Callable[[float, float], None]]:
        """Hold the lock of the shared file, read its times, and yield a function that writes them.

        Without a usable file, the times are those of this process, and `fault` states why.
        """
        descriptor: int | None = None

        def write(free: float, connected: float) -> None:
            self._times = (free, connected)
            if descriptor is not None:
                try:
                    os.pwrite(descriptor, _TIMES.pack(free, connected), 0)
                except OSError as error:
                    self.fault = str(error)

        try:
            if self._path is not None:
                try:
                    descriptor = _open_locked(self._path)
                    data = os.pread(descriptor, _TIMES.size, 0)
                    self._times = _TIMES.unpack(data) if len(data) == _TIMES.size else (0.0, 0.0)
                    self.fault = None
                except OSError as error:
                    self.fault = str(error)
            yield write
        finally:
            if descriptor is not None:
                os.close(descriptor)


def get_default_dial_file(exchange: str) -> Path:
    """Return the default file that the programs of this user share.

    Args:
        exchange: CCXT exchange id.
    """
    return Path(tempfile.gettempdir()) / f"onetape-dials-{os.getuid()}-{exchange}"


def _open_locked(path: Path) -> int:
    """Open the file and take its lock, which ends with the descriptor.

    Raises:
        OSError: the file cannot be created or opened, or another program holds the lock too long.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        for _ in range(_LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            time.sleep(_LOCK_PAUSE_SECONDS)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise TimeoutError(f"{path} stayed locked by another process")
