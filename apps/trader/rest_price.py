"""Sells a pending exit at the exchange's best bid, read over REST, while the stream is down."""

import asyncio
import time
from typing import Final

from onetape.core.errors import ExchangeUnreachable
from onetape.exchange.rest import RestExchange
from trader.exit_orders import ExitOrders
from trader.market_status import MARKET_PROBLEM
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.stream_recorder import StreamRecorder

#: Time that the stream is down before the price for a pending exit is fetched over REST, seconds.
AFTER_SECONDS: float = 5.0
#: Time between two checks whether a price is needed, wall seconds.
CHECK_SECONDS: Final = 1.0


class RestPrice:
    """Fills a pending exit of one symbol at the best bid over REST while the stream is down."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        recorder: StreamRecorder,
        orders: ExitOrders,
        rule_runner: RuleRunner,
        states: TraderStates,
    ) -> None:
        """Initialise; nothing is fetched before an exit is pending.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange of the ticker.
            recorder: Recorder that shows whether the stream is up.
            orders: Exits of the symbol; one may be pending.
            rule_runner: Rules of the symbol, which fill the exit.
            states: States of the trader: the ticker of a market that is halted is old.
        """
        self._context = context
        self._exchange = exchange
        self._recorder = recorder
        self._orders = orders
        self._rule_runner = rule_runner
        self._states = states
        self._waiting_since: float | None = None
        """Time since which an exit waits without a stream, monotonic seconds; None: none does."""

    async def fill_if_stream_down(self) -> None:
        """Fill a pending exit that has waited for the stream for 5 s; then wait `CHECK_SECONDS`.

        Raises:
            StoreError: the fill could not be stored; the exit stays pending.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        if self._has_waited():
            try:
                ticker = await self._exchange.fetch_ticker(self._context.key.symbol)
            except ExchangeUnreachable:
                # The task that needs REST reports that it does not respond.
                ticker = None
            price = None if ticker is None else ticker.bid or ticker.last
            # The stream may work again meanwhile: its price is fresher.
            if price and self._recorder.watch is None:
                self._rule_runner.fill(price)
        await asyncio.sleep(min(CHECK_SECONDS, AFTER_SECONDS))

    def _has_waited(self) -> bool:
        """Return whether an exit is pending, and the stream is down, since `AFTER_SECONDS`."""
        is_waiting = self._recorder.watch is None and self._orders.is_exit_pending
        if not is_waiting or self._states.has_problem(MARKET_PROBLEM):
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        return time.monotonic() - self._waiting_since >= AFTER_SECONDS
