"""The trader's side of the helper process and of its workers."""

import asyncio
import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import Final

from msgspec import Struct

from onetape.cli.stop import cancel_and_wait
from trader.evaluator.helper import CHECK, CLEAN, MOST_REASON, START
from trader.evaluator.messages import HEADER, MOST_BYTES

#: The helper ends by itself when its socket is closed; after this it is killed, seconds.
END_SECONDS: Final = 1.0
#: A reply that has arrived while the event loop was held up is still read, seconds.
SECOND_LOOK_SECONDS: Final = 0.25
#: How long the helper may take to report why a worker ended, seconds.
REASON_SECONDS: Final = 2.0
MEGABYTE: Final = 1_000_000
#: Maximum bytes of a reply, its length included, that is read at once if it has arrived whole.
SHORT_BYTES: Final = 65_536
#: Instead of a reply with a length that no reply has; it cannot be decoded.
_NO_REPLY: Final = b""


class WorkerLate(Exception):
    """A worker has not replied in time."""


class WorkerEnded(Exception):
    """A worker has ended; the text is the reason."""


class HelperEnded(WorkerEnded):
    """A worker has ended because the helper process has."""


class StrategyHelper:
    """The helper process, started when the first worker is needed, and again if it ends."""

    def __init__(self) -> None:
        """Prepare; no process is started yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def process_id(self) -> int | None:
        """Return the number of the process, or None where it is not started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process now, so that its imports run while the trader imports its own."""
        if self._process is not None:
            return
        control, theirs = socket.socketpair()
        hidden = ("ONETAPE_", "TRADER__")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file of the working folder must not stand in for a module.
                [sys.executable, "-P", "-m", "trader.evaluator.helper"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self._control = control
        atexit.register(self.close)

    def start_worker(self, memory_mb: int) -> "WorkerConnection":
        """Start a worker.

        Args:
            memory_mb: Address space that the worker may use, MB.

        Raises:
            OSError: the system lacks memory or processes.
        """
        connection, theirs = socket.socketpair()
        status, their_status = socket.socketpair()
        with theirs, their_status:
            descriptors = [theirs.fileno(), their_status.fileno()]
            try:
                self._send(memory_mb, descriptors)
            except OSError:
                self.close()
                try:
                    self._send(memory_mb, descriptors)
                except OSError:
                    connection.close()
                    status.close()
                    raise
        return WorkerConnection(connection, status)

    def _send(self, memory_mb: int, descriptors: list[int]) -> None:
        self.start()
        if self._control is not None:
            socket.send_fds(self._control, [START.pack(memory_mb * MEGABYTE)], descriptors)
        self.resume()

    def resume(self) -> None:
        """Let the process go on, where the code of a strategy has stopped it (SIGSTOP)."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process, with all workers and what they started."""
        self.resume()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        atexit.unregister(self.close)


class WorkerConnection(Struct, eq=False):
    """The sockets of one worker."""

    connection: socket.socket
    status: socket.socket

    def __post_init__(self) -> None:
        """Let the event loop wait for the sockets."""
        self.connection.setblocking(False)
        self.status.setblocking(False)

    async def call(self, message: bytes, seconds: float) -> bytes:
        """Send a request and return the reply.

        Args:
            message: The request, with its length before it, or what `send_now` has left of it.
            seconds: Maximum time of the worker, wall clock.

        Raises:
            WorkerLate: there was no reply in time.
            WorkerEnded: the worker ended.
        """
        present = None if message else self._present_reply()
        if present is not None:
            return present
        exchange = asyncio.create_task(self._exchange(message))
        status = asyncio.create_task(self._ended())
        try:
            for timeout in (seconds, SECOND_LOOK_SECONDS):
                await asyncio.wait(
                    (exchange, status), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if exchange.done() or status.done():
                    break
            if exchange.done():
                reply = exchange.result()
                if reply is not None:
                    return reply
                await asyncio.wait((status,), timeout=REASON_SECONDS)
            if status.done():
                if not status.result():
                    raise HelperEnded("the helper process ended")
                raise WorkerEnded(status.result())
            if exchange.done():
                raise WorkerEnded("it closed its connection to the trader")
            raise WorkerLate
        finally:
            await cancel_and_wait(exchange, status)

    def send_now(self, message: bytes) -> bytes:
        """Send what the connection takes of a request now; return the rest.

        Its reply comes after those of the requests before it; `call` returns it.
        """
        try:
            return message[self.connection.send(message) :]
        except OSError:
            return message

    def _present_reply(self) -> bytes | None:
        """Return a short reply that has arrived whole, without waiting; None where there is none.

        The worker went on by itself with a request that was sent ahead.
        """
        with contextlib.suppress(OSError):
            header = self.connection.recv(HEADER.size, socket.MSG_PEEK)
            if len(header) == HEADER.size:
                count = HEADER.size + HEADER.unpack(header)[0]
                if count <= SHORT_BYTES:
                    found = self.connection.recv(count, socket.MSG_PEEK)
                    if len(found) == count:
                        return self.connection.recv(count)[HEADER.size :]
        return None

    async def is_clean(self) -> bool:
        """Return whether nothing is running that the strategy has left behind.

        Where something is, or where the worker is gone, it must not be used again.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(REASON_SECONDS):
                await loop.sock_sendall(self.status, CHECK)
                return await loop.sock_recv(self.status, MOST_REASON) == CLEAN
        return False

    def close(self) -> None:
        """End the worker, with everything that it started."""
        self.status.close()
        self.connection.close()

    async def _exchange(self, message: bytes) -> bytes | None:
        """Return the reply, or None where the connection ends."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.connection, message)
            header = await self._read(HEADER.size)
            if header is None:
                return None
            (length,) = HEADER.unpack(header)
            return await self._read(length) if length <= MOST_BYTES else _NO_REPLY
        except OSError:
            return None

    async def _read(self, count: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        found = bytearray()
        while len(found) < count:
            part = await loop.sock_recv(self.connection, min(count - len(found), 1 << 20))
            if not part:
                return None
            found += part
        return bytes(found)

    async def _ended(self) -> str:
        """Return why the worker ended, once it has; empty where the helper ended."""
        loop = asyncio.get_running_loop()
        try:
            reason = await loop.sock_recv(self.status, MOST_REASON)
        except OSError:
            reason = b""
        return reason.decode(errors="replace")
