"""A server with recorded replies and WebSocket messages of any exchange.

`simulator play` and tests of CCXT's classes use it in place of the exchange.
"""

import asyncio
from collections import defaultdict
from typing import Final

from aiohttp import WSMsgType, web

from onetape.simulator.recorded.recordings import (
    Query,
    RecordedReply,
    Recordings,
    format_request,
    normalize_query,
)
from onetape.simulator.server.listening import format_url, listen, refuse_remote
from onetape.simulator.server.request_guard import RequestGuard
from onetape.simulator.server.wire import format_json

#: Recorded headers that are not sent, because they describe the bytes that were recorded.
_NOT_SENT: Final = frozenset({"content-length", "content-encoding", "transfer-encoding", "date"})
_MAX_NAMED: Final = 5
#: Method, path and query by which a recording is found; the query is None with `in_order`.
Key = tuple[str, str, Query | None]


class Player:
    """Serves recordings; `async with Player(recordings) as player: player.url`.

    A request gets the recording of the same method, path and query; parameters that differ from
    call to call (timestamp, signature) are ignored. With `in_order` the whole query is ignored. If
    several recordings match, each is returned once, in the order of the files, and the last one
    again and again. A request that was not recorded gets a 404 and is listed in `unrecorded`.

    Every WebSocket, on any path, gets all recorded messages one after the other once its client
    has sent something.
    """

    def __init__(
        self,
        recordings: Recordings,
        *,
        in_order: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
    ) -> None:
        """Make a player that does not listen yet.

        Args:
            recordings: Recordings to play.
            in_order: Ignore the query.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            allow_remote: Permit an address that other machines can reach.

        Raises:
            SafetyRefusal: the address is not loopback and `allow_remote` is not set.
        """
        refuse_remote(host, allow_remote=allow_remote)
        self._in_order = in_order
        self._host = host
        self._port = port
        self._messages = recordings.messages
        self._replies: dict[Key, list[RecordedReply]] = defaultdict(list)
        for recording in recordings.replies:
            self._replies[self._make_key(recording.method, recording.path, recording.query)].append(
                recording
            )
        self._reply_counts: dict[Key, int] = defaultdict(int)
        self._runner: web.AppRunner | None = None
        #: Every request, as `GET /path?query`, oldest first.
        self.requests: list[str] = []
        #: Requests that were not recorded.
        self.unrecorded: list[str] = []

    @property
    def url(self) -> str:
        """Address of the player, such as `http://127.0.0.1:8791`."""
        return format_url(self._host, self._port)

    async def __aenter__(self) -> "Player":
        """Begin to listen.

        Raises:
            ConfigurationError: the address cannot be used.
        """
        app = web.Application(middlewares=[RequestGuard(self._host, lambda: self._port).middleware])
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner, self._port = await listen(app, self._host, self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop listening."""
        del error
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _make_key(self, method: str, path: str, query: Query) -> Key:
        return method, path, None if self._in_order else query

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._play_messages(request)
        query = normalize_query(request.query.items())
        requested = format_request(request.method, request.path, query)
        self.requests.append(requested)
        key = self._make_key(request.method, request.path, query)
        recordings = self._replies.get(key)
        if not recordings:
            self.unrecorded.append(requested)
            return web.Response(
                text=format_json({"error": self._format_missing_error(requested, request.path)}),
                status=404,
                content_type="application/json",
            )
        place = min(self._reply_counts[key], len(recordings) - 1)
        self._reply_counts[key] += 1
        return _make_response(recordings[place])

    def _format_missing_error(self, requested: str, path: str) -> str:
        """Return an error text: the request, and recordings of the same path or else the paths."""
        replies = [one for found in self._replies.values() for one in found]
        near = [str(one) for one in replies if one.path == path]
        known = near or sorted({f"{one.method} {one.path}" for one in replies})
        more = ", ..." if len(known) > _MAX_NAMED else ""
        return (
            f"not recorded: {requested}; recorded: {', '.join(known[:_MAX_NAMED]) or 'none'}{more}"
        )

    async def _play_messages(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            for recorded in self._messages:
                await socket.send_str(
                    recorded if isinstance(recorded, str) else format_json(recorded)
                )
                await asyncio.sleep(0)
            async for _ in socket:
                pass
        return socket


def _make_response(recording: RecordedReply) -> web.Response:
    body = recording.body
    is_text = isinstance(body, str)
    headers = {
        name: value for name, value in recording.headers.items() if name.lower() not in _NOT_SENT
    }
    kind = "text/html" if is_text and str(body).lstrip().startswith("<") else "application/json"
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    text = str(body) if is_text else format_json(body)
    return web.Response(body=text.encode(), status=recording.status, headers=headers)
