"""A WebSocket of the simulator without CCXT, which returns raw frames."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from onetape.simulator.server.simulator import Simulator


@asynccontextmanager
async def open_socket(
    simulator: Simulator, path: str, *, autoping: bool = True
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
    """Yield an open socket of a simulator."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.url + path, autoping=autoping) as opened,
    ):
        yield opened


async def read_frames(opened: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    """Return the next frames, each within 5 s."""
    return [json.loads(await opened.receive_str(timeout=60)) for _ in range(count)]
