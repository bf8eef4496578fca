"""Requests that read an account at a real exchange in one market: its present and its past.

A reading of the present state is short, because stops and exits wait for it and must not wait for
old executions. To find the owner of an unknown order's execution takes a separate request for each
order; if the request fails, the order stays unknown and is looked up again by a later reading.
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
NAMING_SECONDS: Final = 2.0
MOST_NAMED: Final = 10
#: Interval of look-ups of past orders, wall seconds: one costs 4 of the 6,000 weight that Binance
#: allows in a minute.
NAMING_PAUSE_SECONDS: Final = 0.1
#: Ways of paging in which executions come oldest first, so that a later attempt can go on.
_OLDEST_FIRST: Final = ("fromId",)


class AccountRequests:
    """Reads one market of an account, in the event loop of the client."""

    def __init__(self, client: PrivateClient, symbol: str) -> None:
        """Initialise; nothing is requested yet.

        Args:
            client: CCXT client of the account.
            symbol: The market.
        """
        self._client = client
        self._symbol = symbol
        self._past: dict[str, OwnTrade] = {}
        """Executions of the past that were read, by the exchange's id."""
        self._past_since_ms = 0
        """Start of the range of `_past`, exchange time, epoch milliseconds."""
        self.balances: BalanceReading | None = None
        """Balances of the last reading, also if a later request of that reading failed."""
        self._nameless: dict[str, dict[str, OwnTrade]] = {}
        """Executions by trade id, for each order id of the exchange without a known order."""

    async def read(self, since_ms: int, known: Set[str]) -> AccountSnapshot:
        """Return balances, open orders and executions.

        Args:
            since_ms: Executions from this exchange time on, and a minute before it.
            known: The exchange's ids of orders whose names are known.

        Raises:
            ExchangeError: no usable response.
        """
        client, symbol = self._client, self._symbol
        begun = time.monotonic()
        requested_ms = await client.fetch_server_ms()
        # Fills come last: a fill that happens meanwhile is in a balance or in the next response.
        balances = await client.fetch_balances()
        self.balances = BalanceReading(requested_ms, begun, balances)
        open_orders = await client.fetch_open_orders(symbol)
        fills = await client.fetch_fills(symbol, since_ms=since_ms - OVERLAP_MS)
        self._add_nameless(fills, known)
        listed = {one.exchange_order_id: one for one in open_orders}
        found: dict[str, OrderSnapshot] = {}
        late = self._take_named({name for name in self._nameless if name in listed})
        numbers = list(self._nameless)[:MOST_NAMED]
        try:
            async with asyncio.timeout(NAMING_SECONDS):
                for number in numbers:
                    # If the look-up fails, other orders come first next time.
                    self._nameless[number] = self._nameless.pop(number)
                    await self._name(number, found)
        except TimeoutError:
            # The next readings look up the others.
            pass
        late += self._take_named(found)
        every = {one.trade_id: one for one in (*fills, *late)}
        return AccountSnapshot(
            requested_ms,
            begun,
            balances,
            open_orders,
            tuple(sorted(every.values(), key=lambda one: one.executed_ms)),
            tuple(found.values()),
            frozenset(self._nameless),
        )

    async def read_past(self, since_ms: int, known: Set[str]) -> AccountHistory:
        """Return executions since a time that may be long ago, with the orders that made them.

        Executions that a failed attempt has read are not read again, except for a minute of
        overlap.

        Args:
            since_ms: Executions from this exchange time on, and a minute before it.
            known: The exchange's ids of orders whose names are known.

        Raises:
            ExchangeError: no usable response; the next attempt goes on.
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
                await self._name(number, found)
                await asyncio.sleep(NAMING_PAUSE_SECONDS)
        self._past = {}
        self._add_nameless(fills, known | found.keys())
        return AccountHistory(begun, tuple(fills), tuple(found.values()))

    def _add_nameless(self, fills: Iterable[OwnTrade], known: Set[str]) -> None:
        """Add executions whose order is unknown; drop those whose order is known now."""
        self._take_named(known & self._nameless.keys())
        for fill in fills:
            if fill.exchange_order_id not in known:
                self._nameless.setdefault(fill.exchange_order_id, {})[fill.trade_id] = fill

    def _take_named(self, numbers: Iterable[str]) -> list[OwnTrade]:
        """Return the executions of orders that are not nameless any more."""
        return [fill for number in numbers for fill in self._nameless.pop(number, {}).values()]

    async def _name(self, number: str, found: dict[str, OrderSnapshot]) -> None:
        """Look an order up by the exchange's id, which may fail."""
        try:
            found[number] = await self._client.look_up_number(self._symbol, number)
        except (ExchangeError, OrderUnknown):
            # The order stays unknown; the next reading counts and reports it.
            return
