"""The state of the traded market, fetched repeatedly: halt, delisting and largest orders.

Halt and delisting are checked while the stream sends nothing. A position in a delisted market is
taken out of the ledger once a person has answered `forget`.
"""

import asyncio
import time
from typing import Final

from onetape.cli.output import print_line
from onetape.core.errors import ExchangeUnreachable, LedgerCorrected
from onetape.core.trading_rules import format_decimal
from onetape.exchange.rest import RestExchange
from onetape.execution.positions import sum_position
from onetape.store.ledger import read_fills
from trader.delisted import end_delisted, forget_while_trading, note_delisted_while_trading
from trader.executor import Executor
from trader.lease import Lease
from trader.session_context import SessionContext
from trader.states import Problem, TraderStates
from trader.stream_recorder import StreamRecorder

#: Source of the problem in the trader's state.
MARKET: Final = "market"
#: Time between two requests for the list of markets, wall seconds.
FETCH_SECONDS = 60.0
#: Time between two requests while frames arrive again, wall seconds.
FETCH_AGAIN_SECONDS = 5.0
#: Time between two checks whether a request is due, wall seconds.
LOOK_SECONDS = 1.0


class MarketStatus:
    """Fetches the market's status while no frame arrives; reports a market that is not traded."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        recorder: StreamRecorder,
        broker: Executor,
        lease: Lease,
        states: TraderStates,
    ) -> None:
        """Begin with a market that is traded.

        Args:
            context: Context of the traded symbol.
            exchange: Lists its markets.
            recorder: Shows whether frames come.
            broker: Takes the market where the limits of its orders should be read again.
            lease: Lease of account and symbol, without which nothing is stored.
            states: States of the trader, which get the problem.
        """
        self._context = context
        self._exchange = exchange
        self._recorder = recorder
        self._broker = broker
        self._lease = lease
        self._states = states
        self._is_traded = True
        self._is_listed = True
        self._fetched = -FETCH_SECONDS

    async def check(self) -> None:
        """Wait a moment; fetch if no frame arrives and the last request is long enough ago.

        The market is also fetched if the limits of its orders should be read again.

        Raises:
            ExchangeRefused: the exchange refused the request; call again.
            LedgerCorrected: a person has taken the position in a delisted market out of the ledger.
        """
        await asyncio.sleep(LOOK_SECONDS)
        if not self._is_listed:
            self._take_answer()
        has_frames = self._recorder.live and not self._recorder.is_quiet
        pause = min(FETCH_AGAIN_SECONDS, FETCH_SECONDS) if has_frames else FETCH_SECONDS
        is_known = has_frames and self._is_traded and not self._broker.is_market_due
        if is_known or time.monotonic() - self._fetched < pause:
            return
        try:
            market = await self._exchange.fetch_current_market(
                self._context.key.symbol, max_age_seconds=pause / 2
            )
        except ExchangeUnreachable:
            # The task that needs REST reports that it does not respond.
            self._fetched = time.monotonic()
            return
        # After a refusal the next call sends another request: only a response ends the problem.
        self._fetched = time.monotonic()
        self._broker.note_market(market)
        self._is_listed = market is not None
        self._is_traded = market is not None and market.active
        if self._is_listed:
            session = self._context.session
            end_delisted(self._context.store, session.account, session.symbol)
        if self._is_traded:
            self._states.clear_problem(MARKET)
        else:
            self._states.report(MARKET, self._make_problem(is_listed=market is not None))

    def _take_answer(self) -> None:
        """Remove the position from the ledger, if a person has answered `forget`."""
        context = self._context
        self._lease.keep()
        booked = forget_while_trading(context.store, context.session, self._lease.fence)
        if booked is not None:
            print_line(booked)
            raise LedgerCorrected(f"the ledger of {context.key.symbol} was corrected by a person")

    def _make_problem(self, *, is_listed: bool) -> Problem:
        context, key = self._context, self._context.key
        what = "halted (listed, not traded)" if is_listed else "not listed any more"
        fills = read_fills(
            context.store, context.session.account, key.symbol, exchange=key.exchange
        )
        position = sum_position(
            fills, context.market.base, context.market.quote, context.market.trading_rules
        )
        reason = f"{key.symbol} is {what} on {key.exchange}"
        measure, remedy = "no entries", "read the exchange's announcements"
        if not is_listed:
            remedy = "leave the symbol out of the settings, and start the trader again"
        if not position.is_flat:
            amount = f"{format_decimal(position.base)} {context.market.base}"
            measure = f"no entries; the position of {amount} cannot be sold while that lasts"
        if not (is_listed or position.is_flat):
            fence = self._lease.fence
            number = note_delisted_while_trading(context.store, context.session, fence, reason)
            remedy = f"free its money and its slot: uv run trader reconcile --forget {number}"
            if context.session.mode == "live":
                remedy = f"sell, convert or withdraw the coins at the exchange, then {remedy}"
        return Problem(reason, measure, remedy)
