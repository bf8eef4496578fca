"""The trader's side of the helper process and its workers: starts, sends, reads, ends them."""

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

#: Time in which the helper ends after its socket is closed, before it is killed, seconds.
END_SECONDS: Final = 1.0
#: Extra time after the deadline, wall seconds: a reply may have arrived while the event loop was
#: blocked.
SECOND_LOOK_SECONDS: Final = 0.25
#: Maximum time until the helper sends the reason why a worker ended, or a check, wall seconds.
REASON_SECONDS: Final = 2.0
#: Bytes in an MB of the setting.
MEGABYTE: Final = 1_000_000
#: Maximum bytes, length included, of a reply that is read at once if it arrived completely.
SHORT_BYTES: Final = 65_536
#: Returned in place of a reply with an impossible length; decoding it raises.
_NO_REPLY: Final = b""


class WorkerLate(Exception):
    """The worker has not replied in time."""


class WorkerEnded(Exception):
    """The worker has ended; the text is the reason."""


class HelperEnded(WorkerEnded):
    """The worker has ended, because the helper process has ended."""


class StrategyHelper:
    """Starts the helper process when the first worker is needed, and again if it has ended."""

    def __init__(self) -> None:
        """Initialise; no process is started yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def process_id(self) -> int | None:
        """Return the id of the process, or None if it is not started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, unless it runs; its imports run while the trader goes on."""
        if self._process is not None:
            return
        control, theirs = socket.socketpair()
        hidden = ("ONETAPE_", "TRADER__")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file of the working folder must not shadow a module.
                [sys.executable, "-P", "-m", "trader.evaluator.helper"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self._control = control
        atexit.register(self.close)

    def start_worker(self, memory_mb: int) -> "WorkerConnection":
        """Start a worker; return its sockets.

        Args:
            memory_mb: Address space that the worker may use, MB.

        Raises:
            OSError: the system has no memory, or no process, left.
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
        """Continue the process (SIGCONT), in case the code of a strategy has stopped it."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process, with all workers and the processes that they started."""
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
    """The two sockets of one worker process."""

    connection: socket.socket
    """Requests and replies."""
    status: socket.socket
    """Checks, and the reason why the worker ended."""

    def __post_init__(self) -> None:
        """Make the sockets non-blocking, for the event loop."""
        self.connection.setblocking(False)
        self.status.setblocking(False)

    async def call(self, message: bytes, seconds: float) -> bytes:
        """Send a request and return the reply.

        Args:
            message: The request with its length, or the part that `send_now` has not sent.
            seconds: Maximum time of the worker, wall seconds.

        Raises:
            WorkerLate: no reply came in time.
            WorkerEnded: the worker ended.
        """
        present = None if message else self._read_arrived_reply()
        if present is not None:
            return present
        exchange = asyncio.create_task(self._send_and_read_reply(message))
        status = asyncio.create_task(self._read_end_reason())
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
        """Send the part of a request that the connection accepts now; return the rest.

        The reply comes after those of earlier requests; `call` returns it.
        """
        try:
            return message[self.connection.send(message) :]
        except OSError:
            return message

    def _read_arrived_reply(self) -> bytes | None:
        """Return a short reply that has arrived completely, without waiting; None: there is none.

        The worker may have replied already to a request that was sent ahead (`send_now`).
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
        """Return whether the strategy has left no process running.

        If a process is left, or the worker is gone, the worker must not be used again.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(REASON_SECONDS):
                await loop.sock_sendall(self.status, CHECK)
                return await loop.sock_recv(self.status, MOST_REASON) == CLEAN
        return False

    def close(self) -> None:
        """End the worker with all processes that it started."""
        self.status.close()
        self.connection.close()

    async def _send_and_read_reply(self, message: bytes) -> bytes | None:
        """Return the reply, or None if the connection ended."""
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

    async def _read_end_reason(self) -> str:
        """Return the reason why the worker ended, once it has ended; empty if the helper ended."""
        loop = asyncio.get_running_loop()
        try:
            reason = await loop.sock_recv(self.status, MOST_REASON)
        except OSError:
            reason = b""
        return reason.decode(errors="replace")
