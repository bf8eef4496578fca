"""A port of 127.0.0.1 that is reserved for a server that starts later."""

import socket
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def hold_port(port: int = 0) -> Generator[int]:
    """Yield a port that refuses connections until a server of the test listens there.

    Meanwhile the system gives it to no other process. A server that sets SO_REUSEADDR, as those of
    asyncio do, can listen at it while the block lasts.

    Args:
        port: Port that a server has left; 0: any free one.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
        yield held.getsockname()[1]
