"""Reads of the account of one API key: open orders, own trades, balances, and whose the key is."""

from collections.abc import AsyncGenerator
from decimal import Decimal

from msgspec import structs

from onetape.core.errors import ConfigurationError, ExchangeUnreachable
from onetape.exchange import order_calls
from onetape.exchange.ccxt_errors import translated
from onetape.exchange.order_calls import CcxtCall
from onetape.exchange.outcomes import has_place
from onetape.exchange.own_trades import next_position, time_windows
from onetape.exchange.permissions import (
    ACCOUNT_EXCHANGES,
    PERMISSION_CALLS,
    KeyPermissions,
    account_in,
    permissions_in,
)
from onetape.exchange.private_connection import PrivateConnection
from onetape.exchange.trading_records import (
    Balance,
    OrderSnapshot,
    OwnTrade,
    fields_of,
    order_of,
    trade_of,
)


class AccountReader(PrivateConnection):
    """Reads an account; each request is made once. Use it as an async context manager."""

    async def look_up_number(self, symbol: str, exchange_order_id: str) -> OrderSnapshot:
        """Return an order by the exchange's own id, which an execution of it names.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        call = order_calls.look_up_number(self.dialect, exchange_order_id, symbol)
        row = fields_of((await self.read(call)).value)
        info, field = fields_of(row.get("info")), self.dialect.fired_order_field
        # CCXT reads an order that a stop has become under the stop's id.
        numbers = (row.get("id"), None if field is None else info.get(field))
        if exchange_order_id not in map(str, numbers) or not row.get("status"):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent another order, or none")
        with translated(self.endpoint.exchange):
            order = structs.replace(order_of(row), exchange_order_id=exchange_order_id)
        if order.client_order_id:
            return order
        named = [str(info[one]) for one in self.dialect.stop_id_params if info.get(one)]
        return structs.replace(order, client_order_id=named[0] if named else "")

    async def open_orders(self, symbol: str) -> tuple[OrderSnapshot, ...]:
        """Return the open orders of the account in one market.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        calls = [order_calls.open_orders(self.dialect, symbol)]
        if self.dialect.stop_cancel_params:
            calls.append(order_calls.open_orders(self.dialect, symbol, of_stops=True))
        found: dict[str, OrderSnapshot] = {}
        for call in calls:
            rows, _ = await self.read_rows(call)
            with translated(self.endpoint.exchange):
                found.update((one.exchange_order_id, one) for one in map(order_of, rows))
        return tuple(found.values())

    async def fills_since(
        self, symbol: str, *, since_ms: int, exchange_order_id: str | None = None
    ) -> tuple[OwnTrade, ...]:
        """Return the account's executions in one market, oldest first, page by page.

        Args:
            symbol: The market.
            since_ms: Start of the range, exchange time, epoch milliseconds.
            exchange_order_id: Only those of one order.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        wanted = exchange_order_id
        found: dict[str, OwnTrade] = {}
        async for page in self.fill_pages(symbol, since_ms=since_ms, exchange_order_id=wanted):
            found.update((one.trade_id, one) for one in page)
        every = sorted(found.values(), key=lambda one: one.executed_ms)
        return tuple(one for one in every if wanted in (None, one.exchange_order_id))

    async def fill_pages(
        self, symbol: str, *, since_ms: int, exchange_order_id: str | None = None
    ) -> AsyncGenerator[tuple[OwnTrade, ...]]:
        """Yield the account's executions in one market page by page, as the exchange orders them.

        Args:
            symbol: The market.
            since_ms: Start of the range, exchange time, epoch milliseconds.
            exchange_order_id: Only those of one order, where the exchange lists them by order.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        dialect = self.dialect
        for window in time_windows(dialect, since_ms, self.now_ms()):
            position: str | None = None
            rows_read = 0
            while True:
                call = order_calls.own_trades_page(
                    dialect,
                    symbol,
                    since_ms=window[0],
                    until_ms=window[1],
                    position=position,
                    exchange_order_id=exchange_order_id,
                )
                rows, result = await self.read_rows(call)
                with translated(self.endpoint.exchange):
                    page = tuple(map(trade_of, rows))
                yield page
                rows_read += len(rows)
                after = next_position(dialect, rows, result.record.body, rows_read)
                if after in (None, position):
                    break
                position = after

    async def balances(self) -> dict[str, Balance]:
        """Return what the account has, by currency; currencies without any are left out.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.read(CcxtCall("fetch_balance", (), {}))
        if not has_place(result.record, self.dialect.balances_path):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent no balances")
        with translated(self.endpoint.exchange):
            free, used = result.value["free"], result.value["used"]
            every = {
                name: Balance(Decimal(free[name] or 0), Decimal(used[name] or 0)) for name in free
            }
        return {name: balance for name, balance in every.items() if balance.total}

    async def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade in one market, quote currency.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.read(CcxtCall("fetch_ticker", (symbol,), {}))
        last = fields_of(result.value).get("last")
        if not last:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent a ticker without a price")
        return Decimal(str(last))

    async def account_id(self) -> str:
        """Return the exchange's own id of the account, the same for each of its keys.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
            ConfigurationError: the exchange does not state whose the key is.
        """
        uid = None
        name = self.endpoint.ccxt_class
        if name == "binance":
            call = CcxtCall("private_get_account", (), {"omitZeroBalances": "true"})
            uid = fields_of((await self.read(call)).value).get("uid")
        elif name in ACCOUNT_EXCHANGES:
            call = CcxtCall(PERMISSION_CALLS[name], (), {})
            uid = account_in(name, (await self.read(call)).value)
        if uid is None:
            raise ConfigurationError(
                f"{self.endpoint.exchange} does not state which account the key belongs to"
            )
        return str(uid)

    async def permissions(self) -> KeyPermissions:
        """Return what the key may do; nothing is known where the exchange has no such question.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request: the key is not valid, for example.
        """
        name = self.endpoint.ccxt_class
        method = PERMISSION_CALLS.get(name)
        # Binance's test network has no such address.
        if method is None or self.endpoint.is_sandbox:
            return KeyPermissions(None, None)
        return permissions_in(name, (await self.read(CcxtCall(method, (), {}))).value)

    async def server_ms(self) -> int:
        """Return the exchange's own time, fetched now, epoch milliseconds.

        Raises:
            ExchangeUnreachable: no usable response.
        """
        result = await self.read(CcxtCall("fetch_time", (), {}))
        with translated(self.endpoint.exchange):
            return int(result.value)
