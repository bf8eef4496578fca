"""The account of a simulator as one object: exchange, keys, REST, WebSocket API, manual actions.

The server of a simulator has one `AccountService` and adds its routes. Faults that affect orders
(a halted or delisted market, a thin order book) reach the exchange from here.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock
from onetape.core.errors import UsageError
from onetape.simulator.market.clock import STEPPED, get_clock_kind
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.wire import JsonObject
from onetape.simulator.streams.ws_api import WsApi
from onetape.simulator.trading.account_api import AccountApi
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.keys import DEFAULT_KEYS, ApiKey, KeyRing
from onetape.simulator.trading.manual_actions import ManualActions
from onetape.simulator.trading.market_trade_feed import MarketTradeFeed
from onetape.simulator.trading.money import UNIT, format_money
from onetape.simulator.trading.orders import SimulatedOrder
from onetape.simulator.trading.replies import USER_ID
from onetape.simulator.trading.signed_rest import SignedRest
from onetape.simulator.trading.taker import ThinBook
from onetape.simulator.trading.trade_feed import Side

#: Default balances of the account.
DEFAULT_BALANCE: Final = {"USDT": Decimal(10_000)}
#: Start balances for test campaigns: coins that no trader has bought, and cash for ten orders, so
#: that an order that is sent twice is filled and shows in the ledger.
CAMPAIGN_BALANCE: Final = {
    "USDT": Decimal(100_000), "BTC": Decimal("0.5"), "ETH": Decimal(5), "BNB": Decimal(2),
}  # fmt: skip
#: Default number of offers on each side under the fault `thin_book`.
THIN_LEVELS: Final = 5
#: Default amount of each offer under the fault `thin_book`, base currency.
THIN_AMOUNT: Final = 0.01


class AccountService:
    """One account on one market."""

    def __init__(
        self,
        market: SimulatedMarket,
        clock: Clock,
        context: ServerContext,
        *,
        balance: Mapping[str, Decimal] | None = None,
        fees: Fees | None = None,
        keys: tuple[ApiKey, ...] = DEFAULT_KEYS,
        strict_timestamps: bool = False,
        account_id: int = USER_ID,
    ) -> None:
        """Open the account at the clock's time.

        Args:
            market: Market in which orders are matched.
            clock: Market time; with a stepped clock any amount is filled at the last price.
            context: Faults, clock skew, request limits and trading rules of the server.
            balance: Start balances of the account; None: 10,000 USDT.
            fees: Fee rates; None is 0.1 % in the received coin.
            keys: API keys of the account.
            strict_timestamps: Whether old timestamps are refused (-1021) with a stepped clock too.
            account_id: Number of the account in replies (`uid`).
        """
        self._market = market
        self._clock = clock
        self._faults = context.faults
        held = get_clock_kind(clock) == STEPPED
        self.exchange = Exchange(
            MarketTradeFeed(market, held=held),
            market.symbols,
            balance=DEFAULT_BALANCE if balance is None else balance,
            now_ms=clock.now_ms(),
            fees=fees,
            find_market_halt=self._find_market_halt,
            find_thin_book=self._find_thin_book,
            rules=context.rules,
        )
        self._actions = ManualActions(self.exchange)
        self.keys = KeyRing(
            keys, clock, context.lasting_faults.compute_skew_ms, strict=strict_timestamps
        )
        self._api = AccountApi(self.exchange, clock, context.faults, account_id)
        self.sockets = WsApi(self.exchange, self._api, self.keys, clock, context)
        self._rest = SignedRest(self.exchange, self._api, self.keys, clock, self.sockets.wake)

    def add_routes(self, app: web.Application) -> None:
        """Add all endpoints to an application."""
        self._rest.add_routes(app)
        self.sockets.add_routes(app)

    def _find_market_halt(self, symbol: SpotSymbol) -> tuple[int, bool] | None:
        """Return the time since which a fault halts a market, and whether it is delisted.

        None: no fault halts the market (see `exchange.FindMarketHalt`).
        """
        for kind, is_delisted in (("delisted", True), ("halted", False)):
            firings = self._faults.fire_lasting(kind, "open orders", symbol.id)
            if firings:
                return min(firing.began_ms for firing in firings), is_delisted
        return None

    def _find_thin_book(self, symbol: SpotSymbol) -> ThinBook | None:
        """Return the offers that a fault leaves in a market's order book; None: no such fault."""
        for firing in self._faults.fire_lasting("thin_book", "an order book", symbol.id):
            fault = firing.fault
            amount = Decimal(repr(THIN_AMOUNT if fault.amount is None else fault.amount))
            return ThinBook(fault.levels or THIN_LEVELS, amount, fault.ticks or 1)
        return None

    def get_balances(self) -> dict[str, JsonObject]:
        """Return `free` and `locked` by asset, as texts, of all assets that were ever held."""
        self.exchange.settle(self._clock.now_ms())
        account = self.exchange.account
        return {
            asset: {"free": format_money(free), "locked": format_money(locked)}
            for asset, free, locked in account.get_rows(account.get_assets())
        }

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Add an amount to the free balance of an asset."""
        self._actions.deposit(asset, amount, self._clock.now_ms())
        self.sockets.wake()

    def withdraw(self, asset: str, amount: Decimal) -> None:
        """Take an amount from the free balance of an asset.

        Raises:
            Refusal: -2010, the free balance is smaller.
        """
        self._actions.withdraw(asset, amount, self._clock.now_ms())
        self.sockets.wake()

    def trade_by_hand(
        self,
        side: Side,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        quote: Decimal | None = None,
    ) -> SimulatedOrder:
        """Send a market order as a person would on the exchange's web page.

        Args:
            side: BUY or SELL.
            symbol: Symbol such as BTC/USDT.
            quantity: Amount, base currency; None: `quote` is given.
            quote: Amount to spend or receive, quote currency; None: `quantity` is given.

        Raises:
            UnknownSymbol: there is no such market.
            Refusal: Binance would refuse the order.
        """
        order = self._actions.trade(
            side,
            self._market.get_symbol(symbol),
            self._clock.now_ms(),
            quantity=quantity,
            quote=quote,
        )
        self.sockets.wake()
        return order

    def place_by_hand(self, params: Mapping[str, str]) -> JsonObject:
        """Place an order of any type as a person would; return Binance's reply.

        Args:
            params: Parameters of Binance's `POST /api/v3/order`.

        Raises:
            Refusal: Binance would refuse the order.
        """
        named = {"newClientOrderId": self._actions.make_client_id(), "newOrderRespType": "FULL"}
        reply = self._api.run("order.place", {**named, **params})
        self.sockets.wake()
        return cast("JsonObject", reply)

    def cancel_by_hand(
        self, symbol: str, *, order_id: int | None = None, client_id: str | None = None
    ) -> list[int]:
        """Cancel an open order, or all of a market; return the ids of the cancelled orders.

        Args:
            symbol: Symbol such as BTC/USDT.
            order_id: The exchange's id of the order; None: see `client_id`.
            client_id: Client order id of the order; None for both: all open orders.

        Raises:
            UnknownSymbol: there is no such market.
            Refusal: no such order is open.
        """
        market = self._market.get_symbol(symbol)
        canceled = self._actions.cancel(market, order_id, client_id, self._clock.now_ms())
        self.sockets.wake()
        return canceled

    def drain(self, asset: str) -> Decimal:
        """Withdraw the whole free balance of an asset, and return the amount."""
        amount = self._actions.drain(asset, self._clock.now_ms())
        self.sockets.wake()
        return amount

    def pay_fees_in_bnb(self, is_on: bool) -> None:
        """Switch fees in BNB on or off."""
        self.exchange.settle(self._clock.now_ms())
        self.exchange.fees.in_bnb = is_on

    def change_rules(
        self,
        symbol: str,
        *,
        price_step: Decimal | None = None,
        amount_step: Decimal | None = None,
        min_notional: Decimal | None = None,
        max_market_quantity: Decimal | None = None,
    ) -> tuple[str, str, str, str]:
        """Change steps and limits of a market's orders; open orders stay. None: no change.

        Args:
            symbol: Symbol such as BTC/USDT.
            price_step: Price step, quote currency.
            amount_step: Amount step, base currency.
            min_notional: Smallest value of an order, quote currency.
            max_market_quantity: Largest amount of a market order, base currency.

        Returns:
            Price step, amount step, smallest value and largest amount at the market now.

        Raises:
            UnknownSymbol: there is no such market.
            ValueError: a step is no whole multiple of the market's own.
        """
        self.exchange.settle(self._clock.now_ms())
        market, rules = self._market.get_symbol(symbol), self.exchange.rules
        rules.change(
            market,
            price_step=price_step,
            amount_step=amount_step,
            min_notional=min_notional,
            max_market_quantity=max_market_quantity,
        )
        return rules.format_rules(market)

    def convert_dust(self, assets: list[str]) -> Decimal:
        """Turn the free balances of some assets into BNB, and return the amount of BNB.

        Raises:
            Refusal: an asset has no price.
        """
        received = self._actions.convert_dust(assets, self._clock.now_ms())
        self.sockets.wake()
        return received


def parse_balance(text: str) -> dict[str, Decimal]:
    """Return the balance that a text such as `USDT=10000,BTC=0.5` states.

    Raises:
        UsageError: the text has another form.
    """
    balance: dict[str, Decimal] = {}
    for part in text.split(","):
        asset, separator, number = part.strip().partition("=")
        if not separator or asset in balance:
            raise UsageError(f"--balance {text!r} was not understood; write USDT=10000,BTC=0.5")
        try:
            balance[parse_asset_name(asset)] = parse_amount(number)
        except UsageError as error:
            raise UsageError(f"--balance {text!r}: {error}") from None
    return balance


def parse_amount(value: object) -> Decimal:
    """Return an amount of an asset, above zero and in whole units of eight digits.

    Raises:
        UsageError: the value is no such amount. Floats are refused, because they are inexact.
    """
    try:
        # Decimal reads "1_0" as 10 and True as 1; no person means that.
        is_odd = isinstance(value, bool) or "_" in str(value)
        found = Decimal(value) if isinstance(value, str | int) and not is_odd else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    # The size is checked first: the division below must fit into 28 digits.
    if not found.is_finite() or not 0 < found < 10**15 or found % UNIT:
        raise UsageError(f'amounts are decimals above 0 such as "0.5", found {value!r}')
    return found


def parse_asset_name(value: object) -> str:
    """Return an asset's name, such as BTC.

    Raises:
        UsageError: the value is no text of capital letters and digits.
    """
    if not isinstance(value, str) or not value.isalnum() or value != value.upper():
        raise UsageError(f'assets are named as in "BTC", found {value!r}')
    return value
