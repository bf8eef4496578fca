"""Printed reasons why a stream cannot be opened."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from onetape.websocket.events import StreamEvent, StreamLost

Run = Callable[[Any], Any]


def find_reason(events: list[StreamEvent]) -> str | None:
    return next((event.reason for event in events if isinstance(event, StreamLost)), None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, "simulator refused the stream with 403 Forbidden"),
        (503, "simulator refused the stream with 503 Service Unavailable"),
        (599, "simulator refused the stream with 599"),
    ],
)
def test_a_refused_handshake_is_named_by_its_status(
    run: Run, run_faulty_server: Any, watching: Any, status: int, expected: str
) -> None:
    async def scene() -> str:
        async with run_faulty_server() as server:
            server.dial_status = status
            async with watching(server.url) as stream:
                return await stream.until(find_reason)

    assert run(scene()) == expected


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "cannot reach simulator: its host name was not found",
        ),
        (
            ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"),
            "cannot reach simulator: its certificate was not accepted (is this computer's clock "
            "right?)",
        ),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "cannot reach simulator: the connection was reset",
        ),
        (
            ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)"),
            "cannot reach simulator: the connection was refused",
        ),
    ],
    ids=["no such host", "certificate", "reset", "refused port"],
)
def test_a_dial_that_fails_before_its_handshake_is_named_by_its_cause(
    run: Run,
    run_faulty_server: Any,
    watching: Any,
    monkeypatch: pytest.MonkeyPatch,
    raised: OSError,
    expected: str,
) -> None:
    def fail(*_: Any, **__: Any) -> web.WebSocketResponse:
        raise raised

    async def scene() -> str:
        async with run_faulty_server() as server:
            monkeypatch.setattr("aiohttp.ClientSession.ws_connect", fail)
            async with watching(server.url) as stream:
                return await stream.until(find_reason)

    assert run(scene()) == expected
