"""The account of a simulator and everything that reaches it: REST, WebSocket API, ledger, a hand.

A person's hand on the account, and what the ledger says, under /simulator:

- `GET /simulator/account`: `{"balances": {"USDT": {"free": "1.0", "locked": "0.0"}}}`.
- `POST /simulator/account/deposit` and `/withdraw` `{"asset": "BTC", "amount": "0.5"}`.
- `POST /simulator/account/buy` and `/sell` `{"symbol": "BTC/USDT", "quantity": "0.1"}`, or
  `"quote"` for a value: a market order by hand, with a client id that begins with `web_`.
- `POST /simulator/account/dust` `{"assets": ["DOGE"]}`: turns what is free of them into BNB.
- `GET /simulator/ledger/orders`, `/fills`, `/balances` and `/events`: all rows so far.

Amounts are decimals as strings. Binance's refusals come as on its own endpoints.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock
from onetape.core.errors import UsageError
from onetape.simulator.market.clock import STEPPED, clock_kind
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol, UnknownSymbol
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.wire import JsonObject, json_text, json_value
from onetape.simulator.streams.ws_api import WsApi
from onetape.simulator.trading.account_api import AccountApi
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.keys import DEFAULT_KEYS, ApiKey, KeyRing
from onetape.simulator.trading.manual_actions import ManualActions
from onetape.simulator.trading.market_trade_feed import MarketTradeFeed
from onetape.simulator.trading.money import UNIT, text_8
from onetape.simulator.trading.orders import Order
from onetape.simulator.trading.replies import order_status
from onetape.simulator.trading.signed_rest import SignedRest
from onetape.simulator.trading.trade_feed import Side

#: What the account holds unless told otherwise.
DEFAULT_BALANCE: Final = {"USDT": Decimal(10_000)}
LEDGERS: Final = ("orders", "fills", "balances", "events")


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
    ) -> None:
        """Open the account at the clock's time.

        Args:
            market: Where orders are matched.
            clock: Market time; one that is stepped holds the price for the orders of a bar.
            context: Faults, states and limits of its sockets; skewed time is checked as skewed.
            balance: What it holds; None is 10,000 USDT.
            fees: Fee rates; None is 0.1 % in the received coin.
            keys: Who may ask.
        """
        self._market = market
        self._clock = clock
        self._faults = context.faults
        held = clock_kind(clock) == STEPPED
        self.exchange = Exchange(
            MarketTradeFeed(market, held=held),
            market.symbols,
            balance=DEFAULT_BALANCE if balance is None else balance,
            now_ms=clock.now_ms(),
            fees=fees,
            stopped=self._stopped,
        )
        self._hands = ManualActions(self.exchange)
        ring = KeyRing(keys, clock, context.states.skew_ms)
        api = AccountApi(self.exchange, clock)
        self.sockets = WsApi(self.exchange, api, ring, clock, context)
        self._rest = SignedRest(self.exchange, api, ring, clock, self.sockets.wake)

    def add_to(self, app: web.Application) -> None:
        """Add all endpoints to an application."""
        self._rest.add_to(app)
        self.sockets.add_to(app)
        app.router.add_get("/simulator/account", self._get_account)
        app.router.add_post("/simulator/account/{action}", self._post_account)
        app.router.add_get("/simulator/ledger/{name}", self._get_ledger)

    def _stopped(self, symbol: SpotSymbol) -> tuple[int, bool] | None:
        """Return since when a fault stops a market with open orders, and whether for good."""
        for kind, for_good in (("delisted", True), ("halted", False)):
            firings = self._faults.states(kind, "open orders", symbol.id)
            if firings:
                return min(firing.began_ms for firing in firings), for_good
        return None

    def balances(self) -> dict[str, JsonObject]:
        """Return free and locked of every asset that was ever held, now."""
        self.exchange.settle(self._clock.now_ms())
        account = self.exchange.account
        return {
            asset: {"free": text_8(free), "locked": text_8(locked)}
            for asset, free, locked in account.rows(account.assets())
        }

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Add to what is free."""
        self._hands.deposit(asset, amount, self._clock.now_ms())
        self.sockets.wake()

    def withdraw(self, asset: str, amount: Decimal) -> None:
        """Take from what is free.

        Raises:
            Refusal: -2010, not so much is free.
        """
        self._hands.withdraw(asset, amount, self._clock.now_ms())
        self.sockets.wake()

    def trade_by_hand(
        self,
        side: Side,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        quote: Decimal | None = None,
    ) -> Order:
        """Send a market order as a person would on the web page.

        Raises:
            UnknownSymbol: there is no such market.
            Refusal: Binance would refuse the order.
        """
        order = self._hands.trade(
            side, self._market.symbol(symbol), self._clock.now_ms(), quantity=quantity, quote=quote
        )
        self.sockets.wake()
        return order

    def convert_dust(self, assets: list[str]) -> Decimal:
        """Turn all that is free of some assets into BNB, and return how much BNB came.

        Raises:
            Refusal: one of them has no price.
        """
        got = self._hands.convert_dust(assets, self._clock.now_ms())
        self.sockets.wake()
        return got

    async def _get_account(self, request: web.Request) -> web.Response:
        del request
        return _json({"balances": self.balances()})

    async def _get_ledger(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in LEDGERS:
            return _json({"error": f"there are the ledgers {', '.join(LEDGERS)}"}, 404)
        self.exchange.settle(self._clock.now_ms())
        return _json(getattr(self.exchange.ledger, name))

    async def _post_account(self, request: web.Request) -> web.Response:
        try:
            body = dict(cast("JsonObject", json_value(await request.text() or "{}")))
            return _json(self._acted(request.match_info["action"], body))
        except UnknownSymbol as error:
            return _json({"error": f"there is no market {error}"}, 400)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            text = str(error) if isinstance(error, UsageError) else _usage(request)
            return _json({"error": text}, 400)

    def _acted(self, action: str, body: JsonObject) -> JsonObject:
        if action in ("deposit", "withdraw"):
            act = self.deposit if action == "deposit" else self.withdraw
            act(_asset(body["asset"]), amount(body["amount"]))
        elif action in ("buy", "sell"):
            quantity, quote = body.get("quantity"), body.get("quote")
            if (quantity is None) == (quote is None):
                raise ValueError(action)
            order = self.trade_by_hand(
                "BUY" if action == "buy" else "SELL",
                str(body["symbol"]),
                quantity=None if quantity is None else amount(quantity),
                quote=None if quote is None else amount(quote),
            )
            return {"order": order_status(order), "balances": self.balances()}
        elif action == "dust":
            assets = [_asset(one) for one in cast("list[object]", body["assets"])]
            return {"bnb": text_8(self.convert_dust(assets)), "balances": self.balances()}
        else:
            raise KeyError(action)
        return {"balances": self.balances()}


def parse_balance(text: str) -> dict[str, Decimal]:
    """Return the balance that a text such as `USDT=10000,BTC=0.5` states.

    Raises:
        UsageError: it has another form.
    """
    balance: dict[str, Decimal] = {}
    for part in text.split(","):
        asset, separator, number = part.strip().partition("=")
        if not separator or asset in balance:
            raise UsageError(f"--balance {text!r} was not understood; write USDT=10000,BTC=0.5")
        try:
            balance[_asset(asset)] = amount(number)
        except UsageError as error:
            raise UsageError(f"--balance {text!r}: {error}") from None
    return balance


def amount(value: object) -> Decimal:
    """Return an amount of an asset, above zero and in whole units of eight digits.

    Raises:
        UsageError: it is something else. Floats are refused: they are no exact amounts.
    """
    try:
        # Decimal reads "1_0" as 10 and True as 1; no person means that.
        odd = isinstance(value, bool) or "_" in str(value)
        found = Decimal(value) if isinstance(value, str | int) and not odd else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    # The size comes first: what is divided below must fit into 28 digits.
    if not found.is_finite() or not 0 < found < 10**15 or found % UNIT:
        raise UsageError(f'amounts are decimals above 0 such as "0.5", found {value!r}')
    return found


def _asset(value: object) -> str:
    if not isinstance(value, str) or not value.isalnum() or value != value.upper():
        raise UsageError(f'assets are named as in "BTC", found {value!r}')
    return value


def _usage(request: web.Request) -> str:
    return (
        f"{request.path} with this body was not understood; there are deposit and withdraw "
        '{"asset": "BTC", "amount": "0.5"}, buy and sell {"symbol": "BTC/USDT", "quantity": "0.1"} '
        'or with "quote", and dust {"assets": ["DOGE"]}'
    )


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(text=json_text(value), content_type="application/json", status=status)
