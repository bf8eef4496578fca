"""Opens the stream of an account's events, and prints a line when it is lost and when it is back.

The events (orders, fills, balances) come over a WebSocket of the exchange. While the stream is
lost, the trader reads the account over REST more often.
"""

from contextlib import AsyncExitStack

from onetape.cli.output import print_line
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials
from onetape.websocket.user_stream import (
    UserEvent,
    UserStream,
    UserStreamLost,
    UserStreamOpened,
)


async def open_stream(
    client: PrivateClient, credentials: Credentials, stack: AsyncExitStack
) -> UserStream:
    """Return the opened stream of an account's events.

    Args:
        client: Client of the account; its markets and clock are used.
        credentials: API key of the account.
        stack: Closes the stream at its exit.
    """
    stream = UserStream(client.endpoint, credentials, client.markets, now_ms=client.now_ms)
    stream.add_listener(_StreamLines().note)
    return await stack.enter_async_context(stream)


class _StreamLines:
    """Prints that the account's events are lost, and that they arrive again."""

    def __init__(self) -> None:
        self._is_lost = False

    def note(self, event: UserEvent) -> None:
        """Print the line of an event, if there is one."""
        if isinstance(event, UserStreamLost):
            self._is_lost = True
            print_line(
                f"the account's events are lost ({event.reason}); orders, executions and balances "
                "are read until they are back"
            )
        elif isinstance(event, UserStreamOpened) and self._is_lost:
            self._is_lost = False
            print_line("the account's events are back")
