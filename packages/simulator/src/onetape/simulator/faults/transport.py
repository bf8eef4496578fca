"""Functions that reset or hold a connection, or send malformed frames, as faulty servers do."""

import asyncio
import contextlib
import struct
from socket import SO_LINGER, SOL_SOCKET

from aiohttp import WSMsgType, web


def reset(transport: asyncio.Transport | None) -> None:
    """End a connection with a TCP reset: no more data is sent, not even buffered data."""
    if transport is None:
        return
    socket = transport.get_extra_info("socket")
    if socket is not None:
        # A linger of 0 s makes the close a reset; otherwise it would be a normal end.
        with contextlib.suppress(OSError):
            socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def send_frame(socket: web.WebSocketResponse, frame: str | bytes) -> None:
    """Send one frame: text as text, bytes as binary.

    Bytes that begin like a JSON object are sent as a text frame, which is then no valid UTF-8.
    """
    if isinstance(frame, str):
        await socket.send_str(frame)
    elif frame.startswith(b"{"):
        await socket.send_frame(frame, WSMsgType.TEXT)
    else:
        await socket.send_bytes(frame)


async def hang(request: web.Request, seconds: float) -> None:
    """Hold a request for some real time, or until its client has gone."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(min(left, 0.05))
