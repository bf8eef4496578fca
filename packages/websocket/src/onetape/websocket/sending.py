"""Send the messages of a client to an exchange slowly, and merge subscriptions into one message.

CCXT sends a message for each subscription. Binance closes a socket that gets more than five
messages a second, and others have other limits; all of them accept many streams in one message.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeGuard, cast

#: Interval of a socket's messages, seconds: four a second leave one for the response to a ping.
PAUSE_SECONDS: Final = 0.26
#: Maximum number of streams in one message: Binance accepts messages of a few kilobytes.
MOST_STREAMS: Final = 100
#: Keys of the list of streams in a message, and keys of what to do with the streams.
_STREAM_KEYS: Final = ("params", "args")
_METHOD_KEYS: Final = ("method", "op")

#: Coroutine function that sends one message.
Send = Callable[[Any], Awaitable[None]]


class PacedSender:
    """Sends the messages of one socket in their order, at most one in `PAUSE_SECONDS`."""

    def __init__(self, send: Send) -> None:
        """Initialise without messages.

        Args:
            send: Coroutine function that sends one message.
        """
        self._send = send
        self._waiting: list[tuple[Any, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._free_at = 0.0
        """Time at which the next message may be sent, monotonic seconds."""

    async def send(self, message: Any) -> None:
        """Send a message, alone or merged with others; return when it is sent.

        Raises:
            Exception: the error of the send.
        """
        sent = asyncio.get_running_loop().create_future()
        self._waiting.append((message, sent))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        await sent

    async def _send_all(self) -> None:
        """Send the waiting messages, one in each `PAUSE_SECONDS`, until none waits."""
        while self._waiting:
            pause = self._free_at - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            self._free_at = time.monotonic() + PAUSE_SECONDS
            message, senders = self._take_next_message()
            try:
                await self._send(message)
            except Exception as error:
                for sent in senders:
                    if not sent.done():
                        sent.set_exception(error)
            else:
                for sent in senders:
                    if not sent.done():
                        sent.set_result(None)

    async def close(self) -> None:
        """Stop sending, and drop the messages that wait."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        for _, sent in self._waiting:
            sent.cancel()
        self._waiting.clear()

    def _take_next_message(self) -> tuple[Any, list[asyncio.Future[None]]]:
        """Remove the first waiting message and those that can be merged with it; return the result.

        Returns:
            The message to send, and the futures of the calls of `send` that it fulfils.
        """
        message, first = self._waiting.pop(0)
        senders = [first]
        while self._waiting:
            merged = merge_subscriptions(message, self._waiting[0][0])
            if merged is None:
                break
            message = merged
            senders.append(self._waiting.pop(0)[1])
        return message, senders


def merge_subscriptions(first: Any, second: Any) -> dict[str, Any] | None:
    """Return one message in place of two that subscribe to streams; None: they cannot be merged.

    Args:
        first: Message of CCXT, such as `{"method": "SUBSCRIBE", "params": [...], "id": 1}`.
        second: Another message; its id is dropped.
    """
    if not (_is_object(first) and _is_object(second)):
        return None
    name = next((key for key in _STREAM_KEYS if isinstance(first.get(key), list)), "")
    method = next((str(first[key]).lower() for key in _METHOD_KEYS if key in first), "")
    others = [
        {key: call[key] for key in call if key not in (name, "id")} for call in (first, second)
    ]
    if method != "subscribe" or not isinstance(second.get(name), list) or others[0] != others[1]:
        return None
    streams: list[Any] = [*first[name], *second[name]]
    return {**first, name: streams} if len(streams) <= MOST_STREAMS else None


def _is_object(message: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(message, dict) and all(
        isinstance(key, str) for key in cast("dict[Any, Any]", message)
    )
