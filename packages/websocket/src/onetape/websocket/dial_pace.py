"""Time of the next dial of an exchange, so that all programs stay under the limit of dials.

Binance allows 300 dials in five minutes from one address. Programs that share a file dial one after
the other, 150 times in five minutes at most, and read in it that one of them is connected; then the
others need not wait any more.
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
#: Number of dials that may be sent at once after a time without any.
BURST_DIALS = 50
#: Interval in which a program that waits for its dial checks whether another one is connected.
LOOK_SECONDS = 0.5
#: Times further in the future are from before the computer was started again.
_LONGEST_QUEUE_SECONDS: Final = 3_600.0
#: Time up to which earlier dials fill the queue, and time of the last connection, monotonic
#: seconds.
_TIMES: Final = struct.Struct("<dd")
#: Number of attempts to get a lock that another program holds, and the pause between, seconds.
_LOCK_TRIES: Final = 50
_LOCK_PAUSE_SECONDS: Final = 0.005


class DialPace:
    """The queue of dials of one exchange, in a file that programs share, or in memory."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the queue; the shared file is opened when it is needed.

        Args:
            path: Shared file, made where it is missing; None: the queue is this object's alone.
            clock: The monotonic clock of the computer, seconds.
        """
        self._path = path
        self._clock = clock
        self._guard = threading.Lock()
        self._times = (0.0, 0.0)
        self.fault: str | None = None
        """Reason why the shared file cannot be used; the queue is then local to this object."""

    async def reserve(self) -> float:
        """Take the next place in the queue; return the time until its turn, seconds."""
        return await self._run_in_thread(self._reserve)

    async def note_connection(self) -> None:
        """Note that a program is connected: those that wait may dial at once."""
        await self._run_in_thread(self._note_connection)

    async def read_last_connection(self) -> float:
        """Return the time at which a program that shares the file was last connected; 0: never."""
        return await self._run_in_thread(self._read_last_connection)

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        """Run a function that may wait for a disk in a thread, and not in the event loop."""
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
    """Return the file that this user's programs share where no other one is given.

    Args:
        exchange: CCXT exchange id.
    """
    return Path(tempfile.gettempdir()) / f"onetape-dials-{os.getuid()}-{exchange}"


def _open_locked(path: Path) -> int:
    """Open the file and take its lock, which ends with the descriptor.

    Raises:
        OSError: the file cannot be made or written, or a program that hangs holds the lock.
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
