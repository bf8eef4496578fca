"""Read the account of one API key: orders, executions, balances, account id, rights of the key.

`trading.PrivateClient` adds the requests that change something. Reads are not repeated here.
"""

from collections.abc import AsyncGenerator
from decimal import Decimal

from msgspec import structs

from onetape.core.errors import ConfigurationError, ExchangeUnreachable
from onetape.exchange import order_calls
from onetape.exchange.ccxt_errors import translating_ccxt_errors
from onetape.exchange.order_calls import CcxtCall
from onetape.exchange.outcomes import has_list_or_table
from onetape.exchange.own_trades import find_next_position, iterate_time_windows
from onetape.exchange.permissions import (
    ACCOUNT_EXCHANGES,
    PERMISSION_CALLS,
    KeyPermissions,
    parse_account_id,
    parse_permissions,
)
from onetape.exchange.private_connection import PrivateConnection
from onetape.exchange.trading_records import (
    Balance,
    OrderSnapshot,
    OwnTrade,
    get_fields,
    parse_order,
    parse_own_trade,
)


class AccountReader(PrivateConnection):
    """Client that reads an account; each request is sent once. Use it in `async with`."""

    async def look_up_number(self, symbol: str, exchange_order_id: str) -> OrderSnapshot:
        """Return an order by the exchange's own id.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        call = order_calls.make_number_look_up_call(self.dialect, exchange_order_id, symbol)
        row = get_fields((await self.read(call)).value)
        info, field = get_fields(row.get("info")), self.dialect.fired_order_field
        # CCXT returns the order that a triggered stop has become with the id of the stop.
        numbers = (row.get("id"), None if field is None else info.get(field))
        if exchange_order_id not in map(str, numbers) or not row.get("status"):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent another order, or none")
        with translating_ccxt_errors(self.endpoint.exchange):
            order = structs.replace(parse_order(row), exchange_order_id=exchange_order_id)
        if order.client_order_id:
            return order
        named = [str(info[name]) for name in self.dialect.stop_id_params if info.get(name)]
        return structs.replace(order, client_order_id=named[0] if named else "")

    async def fetch_open_orders(self, symbol: str) -> tuple[OrderSnapshot, ...]:
        """Return the open orders of the account in one market, stops and other programs' included.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        calls = [order_calls.make_open_orders_call(self.dialect, symbol)]
        if self.dialect.stop_cancel_params:
            calls.append(order_calls.make_open_orders_call(self.dialect, symbol, of_stops=True))
        found: dict[str, OrderSnapshot] = {}
        for call in calls:
            rows, _ = await self.read_rows(call)
            with translating_ccxt_errors(self.endpoint.exchange):
                found.update((order.exchange_order_id, order) for order in map(parse_order, rows))
        return tuple(found.values())

    async def fetch_fills(
        self, symbol: str, *, since_ms: int, exchange_order_id: str | None = None
    ) -> tuple[OwnTrade, ...]:
        """Return all executions of the account in one market since a time, oldest first.

        Args:
            symbol: CCXT spot symbol.
            since_ms: Start of the range, exchange time, epoch milliseconds.
            exchange_order_id: Only executions of the order with this id; None: of all orders.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        found: dict[str, OwnTrade] = {}
        async for page in self.iterate_fill_pages(
            symbol, since_ms=since_ms, exchange_order_id=exchange_order_id
        ):
            found.update((fill.trade_id, fill) for fill in page)
        fills = sorted(found.values(), key=lambda fill: fill.executed_ms)
        return tuple(fill for fill in fills if exchange_order_id in (None, fill.exchange_order_id))

    async def iterate_fill_pages(
        self, symbol: str, *, since_ms: int, exchange_order_id: str | None = None
    ) -> AsyncGenerator[tuple[OwnTrade, ...]]:
        """Yield the account's executions in one market page by page, in the exchange's order.

        An execution may be in two pages.

        Args:
            symbol: CCXT spot symbol.
            since_ms: Start of the range, exchange time, epoch milliseconds.
            exchange_order_id: Only executions of the order with this id, if the exchange can list
                them by order; otherwise those of all orders.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        dialect = self.dialect
        for window in iterate_time_windows(dialect, since_ms, self.now_ms()):
            position: str | None = None
            rows_read = 0
            while True:
                call = order_calls.make_own_trades_call(
                    dialect,
                    symbol,
                    since_ms=window[0],
                    until_ms=window[1],
                    position=position,
                    exchange_order_id=exchange_order_id,
                )
                rows, result = await self.read_rows(call)
                with translating_ccxt_errors(self.endpoint.exchange):
                    page = tuple(map(parse_own_trade, rows))
                yield page
                rows_read += len(rows)
                after = find_next_position(dialect, rows, result.record.body, rows_read)
                if after in (None, position):
                    break
                position = after

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return the balances of the account, by currency; empty balances are left out.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.read(CcxtCall("fetch_balance", (), {}))
        if not has_list_or_table(result.record, self.dialect.balances_path):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent no balances")
        with translating_ccxt_errors(self.endpoint.exchange):
            free, used = result.value["free"], result.value["used"]
            every = {
                name: Balance(Decimal(free[name] or 0), Decimal(used[name] or 0)) for name in free
            }
        return {name: balance for name, balance in every.items() if balance.total}

    async def fetch_last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade in one market, quote currency.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.read(CcxtCall("fetch_ticker", (symbol,), {}))
        last = get_fields(result.value).get("last")
        if not last:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent a ticker without a price")
        return Decimal(str(last))

    async def fetch_account_id(self) -> str:
        """Return the exchange's own id of the account, the same for each of its keys.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
            ConfigurationError: the exchange does not state the account of the key.
        """
        uid = None
        name = self.endpoint.ccxt_class
        if name == "binance":
            call = CcxtCall("private_get_account", (), {"omitZeroBalances": "true"})
            uid = get_fields((await self.read(call)).value).get("uid")
        elif name in ACCOUNT_EXCHANGES:
            call = CcxtCall(PERMISSION_CALLS[name], (), {})
            uid = parse_account_id(name, (await self.read(call)).value)
        if uid is None:
            raise ConfigurationError(
                f"{self.endpoint.exchange} does not state which account the key belongs to"
            )
        return str(uid)

    async def fetch_permissions(self) -> KeyPermissions:
        """Return the rights of the key; all are unknown if the exchange has no request for them.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request, for example because the key is
                invalid.
        """
        name = self.endpoint.ccxt_class
        method = PERMISSION_CALLS.get(name)
        # Binance's test network does not have this request.
        if method is None or self.endpoint.is_sandbox:
            return KeyPermissions(None, None)
        return parse_permissions(name, (await self.read(CcxtCall(method, (), {}))).value)

    async def fetch_server_ms(self) -> int:
        """Request the exchange's time, epoch milliseconds.

        Raises:
            ExchangeUnreachable: no usable response.
        """
        result = await self.read(CcxtCall("fetch_time", (), {}))
        with translating_ccxt_errors(self.endpoint.exchange):
            return int(result.value)
