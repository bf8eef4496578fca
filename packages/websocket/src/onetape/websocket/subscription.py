"""Read one feed in a background task, and store its events until a reader takes them.

After a break the task reads again; an error that a retry cannot end is raised by `take`.
"""

import asyncio
from http import HTTPStatus

from ccxt import BaseError, ExchangeClosedByUser, OperationFailed
from msgspec.structs import replace

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable, UsageError
from onetape.exchange.ccxt_errors import find_known_cause, translating_ccxt_errors
from onetape.websocket.client import find_handshake_status
from onetape.websocket.events import (
    CandleUpdate,
    StreamEvent,
    StreamLost,
    StreamOpened,
    StreamQuiet,
    TickerUpdate,
    TradeUpdate,
)
from onetape.websocket.feeds import Feed
from onetape.websocket.idle import IdleTimer
from onetape.websocket.redial_pause import RedialPause

#: The longest pause after a failed dial, in addition to CCXT's own pause, wall seconds.
LONGEST_DIAL_PAUSE_SECONDS = 1.0
#: The longest pause after a connection that was open only for a short time, wall seconds.
LONGEST_PAUSE_SECONDS = 3.5
#: Maximum number of trades that wait to be taken; older ones are dropped.
MOST_TRADES_WAITING = 10_000


class Subscription:
    """A feed that is read in the background, with its waiting events."""

    def __init__(self, feed: Feed, timer: IdleTimer, *, exchange: str, news: asyncio.Event) -> None:
        """Begin to read the feed in a background task.

        Args:
            feed: Feed to read.
            timer: Timer that is passed each frame.
            exchange: CCXT id, for the text of errors.
            news: asyncio event that is set when an event or an error can be taken; the task that
                waits for it clears it. Several subscriptions may share it.
        """
        self.feed = feed
        self._timer = timer
        self._exchange = exchange
        self.news = news
        self._waiting: list[StreamEvent] = []
        self._error: Exception | None = None
        timer.add(feed.name)
        self._task = asyncio.create_task(self._read_on())

    def take(self) -> list[StreamEvent]:
        """Return the events since the last call; at most one of each kind (see `merge_event`).

        Raises:
            ExchangeRefused: the exchange refused the request, and no further events will come.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting and self._error is not None:
            raise self._error
        return waiting

    def put(self, event: StreamEvent) -> None:
        """Add an event to the events that wait to be taken."""
        self._waiting = merge_event(self._waiting, event)
        self.news.set()

    def fail(self, error: Exception) -> None:
        """Store an error, which `take` raises after the waiting events."""
        self._error = error
        self.news.set()

    async def close(self) -> None:
        """Stop reading the feed; later calls of `take` raise an error."""
        self.fail(UsageError("this WebSocketManager is closed"))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.feed.close()

    async def _read_on(self) -> None:
        """Read until an error that a retry cannot end, which `take` raises."""
        pause = RedialPause(
            after_dials=LONGEST_DIAL_PAUSE_SECONDS, after_connections=LONGEST_PAUSE_SECONDS
        )
        while True:
            try:
                event = await self._read()
            except ExchangeUnreachable as error:
                self.put(StreamLost(str(error)))
                await asyncio.sleep(pause.take_next_seconds())
                continue
            except Exception as error:
                # Nobody would see an error that the background task raises itself.
                self.fail(error)
                return
            pause.note_open()
            self._timer.note_frame(self.feed.name, _find_last_price(event))
            if event is not None:
                self.put(event)

    async def _read(self) -> StreamEvent | None:
        """Read the next event of the feed.

        Raises:
            ExchangeUnreachable: reading again may help; the text has the cause of the break.
            ExchangeRefused: reading again will not help.
        """
        try:
            return await self.feed.read()
        except (OperationFailed, ExchangeClosedByUser, OSError) as error:
            # An OSError: the socket was reset right after it was opened, before CCXT wrote to it.
            raise ExchangeUnreachable(self._explain_break(error)) from error
        except BaseError as error:
            final = _find_refusal(self._exchange, error)
            raise final or ExchangeUnreachable(self._explain_break(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # This task was not cancelled: CCXT cancels the futures of a socket that it closes.
            raise ExchangeUnreachable("CCXT closed the stream") from None

    def _explain_break(self, error: Exception) -> str:
        """Return the reason why the stream broke or cannot be opened, in one line."""
        text = " ".join(str(error).split())
        status = find_handshake_status(error)
        if status is not None:
            phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
            return f"{self._exchange} refused the stream with {status} {phrase}".rstrip()
        # Pings without a response are a break of a stream that was open.
        cause = None if "keepalive" in text else find_known_cause(error)
        return text[:200] if cause is None else f"cannot reach {self._exchange}: {cause}"


def merge_event(waiting: list[StreamEvent], event: StreamEvent) -> list[StreamEvent]:
    """Return the waiting events with one more event, so that at most one of each kind waits.

    So events for a slow reader do not fill the memory. Candles are merged by their opens; the
    number of the connection in an update shows a break whose event was dropped.
    """
    same = next((each for each in waiting if type(each) is type(event)), None)
    rest = [each for each in waiting if each is not same]
    if isinstance(event, CandleUpdate) and isinstance(same, CandleUpdate):
        return [*rest, same.merge_with(event)]
    if isinstance(event, TradeUpdate) and isinstance(same, TradeUpdate):
        trades = (*same.trades, *event.trades)
        return [*rest, replace(event, trades=trades[-MOST_TRADES_WAITING:])]
    return [*rest, event]


def _find_last_price(event: StreamEvent | None) -> float | None:
    """Return the last price of an event; None: it has no price."""
    match event:
        case CandleUpdate():
            return event.rows[-1].close
        case TickerUpdate():
            return event.last
        case TradeUpdate():
            return event.trades[-1].price
        case StreamOpened() | StreamLost() | StreamQuiet() | None:
            return None


def _find_refusal(exchange: str, error: BaseError) -> ExchangeRefused | None:
    """Return the error as ExchangeRefused if a retry will not help; None: a retry may help."""
    try:
        with translating_ccxt_errors(exchange):
            raise error
    except ExchangeRefused as refused:
        return refused
    except ExchangeUnreachable:
        return None
