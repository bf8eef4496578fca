"""Fetches the state of the traded market: halted, delisted, and the limits of its orders.

Halt and delisting are checked while the stream sends nothing. A position in a delisted market is
removed from the account's stored fills once a person has answered `forget` (`delisted`).
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
from trader.delisted import end_delisted, note_delisted_while_trading, write_off_while_trading
from trader.executor import Executor
from trader.lease import Lease
from trader.session_context import SessionContext
from trader.states import Problem, TraderStates
from trader.stream_recorder import StreamRecorder

#: Name under which the problem is reported to the trader's states.
MARKET_PROBLEM: Final = "market"
#: Time between two requests for the list of markets while no frame arrives, wall seconds.
FETCH_SECONDS = 60.0
#: Time between two such requests when frames arrive again, wall seconds.
FETCH_AGAIN_SECONDS = 5.0
#: Time between two checks whether a request is due, wall seconds.
CHECK_SECONDS = 1.0


class MarketStatus:
    """Reports a market that is not traded as a problem, and writes off a delisted position."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        recorder: StreamRecorder,
        executor: Executor,
        lease: Lease,
        states: TraderStates,
    ) -> None:
        """Initialise; the market counts as traded until the first request.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange of the market.
            recorder: Recorder that shows whether frames of the stream arrive.
            executor: Executor of the symbol, which gets the present limits of its orders.
            lease: Lease of account and symbol, without which nothing is stored.
            states: States of the trader, which get the problem.
        """
        self._context = context
        self._exchange = exchange
        self._recorder = recorder
        self._executor = executor
        self._lease = lease
        self._states = states
        self._is_traded = True
        self._is_listed = True
        self._fetched = -FETCH_SECONDS
        """Time of the last request, monotonic seconds."""

    async def check(self) -> None:
        """Wait `CHECK_SECONDS`; then fetch the market if that is due.

        It is due if no frame arrives, the market was not traded, or the executor needs the present
        limits, and the last request is long enough ago.

        Raises:
            ExchangeRefused: the exchange refused the request; call again.
            LedgerCorrected: the delisted position was written off, as a person answered.
        """
        await asyncio.sleep(CHECK_SECONDS)
        if not self._is_listed:
            self._write_off_if_answered()
        has_frames = self._recorder.live and not self._recorder.is_quiet
        pause = min(FETCH_AGAIN_SECONDS, FETCH_SECONDS) if has_frames else FETCH_SECONDS
        is_known = has_frames and self._is_traded and not self._executor.is_market_due
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
        self._executor.note_market(market)
        self._is_listed = market is not None
        self._is_traded = market is not None and market.active
        if self._is_listed:
            session = self._context.session
            end_delisted(self._context.store, session.account, session.symbol)
        if self._is_traded:
            self._states.clear_problem(MARKET_PROBLEM)
        else:
            self._states.report(MARKET_PROBLEM, self._make_problem(is_listed=market is not None))

    def _write_off_if_answered(self) -> None:
        """Write the position off if a person has answered `forget`.

        Raises:
            LedgerCorrected: the position was written off; the session is built again.
        """
        context = self._context
        self._lease.renew_if_due()
        booked = write_off_while_trading(context.store, context.session, self._lease.fence)
        if booked is not None:
            print_line(booked)
            raise LedgerCorrected(f"the ledger of {context.key.symbol} was corrected by a person")

    def _make_problem(self, *, is_listed: bool) -> Problem:
        """Return the problem of a market that is halted, or not listed any more.

        A position in a market that is not listed is stored as a difference for `trader reconcile`.
        """
        context, key = self._context, self._context.key
        status = "halted (listed, not traded)" if is_listed else "not listed any more"
        fills = read_fills(
            context.store, context.session.account, key.symbol, exchange=key.exchange
        )
        position = sum_position(
            fills, context.market.base, context.market.quote, context.market.trading_rules
        )
        reason = f"{key.symbol} is {status} on {key.exchange}"
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
