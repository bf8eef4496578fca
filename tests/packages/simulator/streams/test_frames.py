"""WebSocket frames that are written as one message are read as their texts."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from onetape.simulator.streams.frames import encode_text_frames

TEXTS = ["", "{}", "x" * 125, "y" * 126, "é" * 200, "z" * 65_535, "w" * 65_536, "end"]


def test_a_client_reads_every_text_as_one_message() -> None:
    assert asyncio.run(asyncio.wait_for(read_back(TEXTS), 60)) == TEXTS


@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_the_header_length_depends_on_the_text_length(length: int, header: int) -> None:
    assert len(encode_text_frames(["a" * length])) == header + length


async def read_back(texts: list[str]) -> list[str]:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(encode_text_frames(texts))
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as opened:
            return [await opened.receive_str(timeout=60) for _ in texts]
    finally:
        await runner.cleanup()
