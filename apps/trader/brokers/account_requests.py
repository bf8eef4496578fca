"""Requests that read an account at a real exchange in one market: its state, and old executions.

The present state (balances, open orders, recent executions) is read often, so that the reading must
be short: stops and exits wait for it. An execution whose order is not known is looked up by a
separate request for its order; if that request fails, the order stays unknown and is looked up
again by a later reading.
"""

import asyncio
import time
from collections.abc import Iterable, Set
from typing import Final

from onetape.core.errors import ExchangeError
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import OrderSnapshot, OrderUnknown, OwnTrade
from trader.brokers.live_records import (
    OVERLAP_MS,
    AccountHistory,
    AccountSnapshot,
    BalanceReading,
)

#: Limits of one reading for look-ups of unknown orders: wall seconds, and number of orders.
LOOK_UP_SECONDS: Final = 2.0
MOST_LOOK_UPS: Final = 10
#: Pause after each look-up of an old order, wall seconds: one costs 4 of the 6,000 weight that
#: Binance allows in a minute.
LOOK_UP_PAUSE_SECONDS: Final = 0.1
#: Kinds of paging (`trades_paging`) with the oldest executions first: a later attempt can go on.
_OLDEST_FIRST: Final = ("fromId",)


class AccountRequests:
    """Reads an account in one market; methods run in the event loop of the client."""

    def __init__(self, client: PrivateClient, symbol: str) -> None:
        """Initialise; nothing is requested yet.

        Args:
            client: CCXT client of the account.
            symbol: The market.
        """
        self._client = client
        self._symbol = symbol
        self._past: dict[str, OwnTrade] = {}
        """Old executions that a failed attempt has read, by the exchange's trade id."""
        self._past_since_ms = 0
        """Start of the range of `_past`, exchange time, epoch milliseconds."""
        self.balances: BalanceReading | None = None
        """Balances of the last reading, also if a later request of that reading failed."""
        self._unassigned: dict[str, dict[str, OwnTrade]] = {}
        """Executions whose order is not known, by the exchange's order id, then by trade id."""

    async def read(self, since_ms: int, known: Set[str]) -> AccountSnapshot:
        """Return balances, open orders and executions; look up the orders that are not known.

        Args:
            since_ms: Executions are read from this exchange time on, less a minute.
            known: The exchange's ids of orders whose client order ids are known.

        Raises:
            ExchangeError: no usable response.
        """
        client, symbol = self._client, self._symbol
        begun = time.monotonic()
        requested_ms = await client.fetch_server_ms()
        # Executions come last: one that happens meanwhile is in a balance or in the next response.
        balances = await client.fetch_balances()
        self.balances = BalanceReading(requested_ms, begun, balances)
        open_orders = await client.fetch_open_orders(symbol)
        fills = await client.fetch_fills(symbol, since_ms=since_ms - OVERLAP_MS)
        self._add_unassigned(fills, known)
        listed = {one.exchange_order_id: one for one in open_orders}
        found: dict[str, OrderSnapshot] = {}
        late = self._remove_assigned({name for name in self._unassigned if name in listed})
        numbers = list(self._unassigned)[:MOST_LOOK_UPS]
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                for number in numbers:
                    # If the look-up fails, other orders come first next time.
                    self._unassigned[number] = self._unassigned.pop(number)
                    await self._look_up(number, found)
        except TimeoutError:
            # The next readings look up the others.
            pass
        late += self._remove_assigned(found)
        every = {one.trade_id: one for one in (*fills, *late)}
        return AccountSnapshot(
            requested_ms,
            begun,
            balances,
            open_orders,
            tuple(sorted(every.values(), key=lambda one: one.executed_ms)),
            tuple(found.values()),
            frozenset(self._unassigned),
        )

    async def read_history(self, since_ms: int, known: Set[str]) -> AccountHistory:
        """Return executions since a time that may be long ago, with the orders that made them.

        Executions that a failed attempt has read are not read again, except for a minute of
        overlap.

        Args:
            since_ms: Executions are read from this exchange time on, less a minute.
            known: The exchange's ids of orders whose client order ids are known.

        Raises:
            ExchangeError: no usable response; the next attempt continues.
        """
        client, begun = self._client, time.monotonic()
        if since_ms < self._past_since_ms:
            # Executions that were read from a later start on lack the beginning.
            self._past = {}
        self._past_since_ms = since_ms
        if self._past and client.dialect.trades_paging in _OLDEST_FIRST:
            since_ms = max(since_ms, max(one.executed_ms for one in self._past.values()))
        async for page in client.iterate_fill_pages(
            self._symbol, since_ms=max(since_ms - OVERLAP_MS, 0)
        ):
            self._past.update((one.trade_id, one) for one in page)
        fills = sorted(self._past.values(), key=lambda one: one.executed_ms)
        found: dict[str, OrderSnapshot] = {}
        for number in dict.fromkeys(one.exchange_order_id for one in fills):
            if number not in known:
                await self._look_up(number, found)
                await asyncio.sleep(LOOK_UP_PAUSE_SECONDS)
        self._past = {}
        self._add_unassigned(fills, known | found.keys())
        return AccountHistory(begun, tuple(fills), tuple(found.values()))

    def _add_unassigned(self, fills: Iterable[OwnTrade], known: Set[str]) -> None:
        """Add executions whose order is not known; drop those whose order is known now."""
        self._remove_assigned(known & self._unassigned.keys())
        for fill in fills:
            if fill.exchange_order_id not in known:
                self._unassigned.setdefault(fill.exchange_order_id, {})[fill.trade_id] = fill

    def _remove_assigned(self, numbers: Iterable[str]) -> list[OwnTrade]:
        """Remove and return the executions of orders that are known now, by their order ids."""
        return [fill for number in numbers for fill in self._unassigned.pop(number, {}).values()]

    async def _look_up(self, number: str, found: dict[str, OrderSnapshot]) -> None:
        """Look an order up by the exchange's id, and add it to `found`, unless that fails."""
        try:
            found[number] = await self._client.look_up_number(self._symbol, number)
        except (ExchangeError, OrderUnknown):
            # The order stays unknown; the next reading counts and reports it.
            return
