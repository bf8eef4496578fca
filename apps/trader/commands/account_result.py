"""The profit of an account, computed from its stored fills and the newest stored price."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import SeriesKey
from onetape.core.digits import Digits
from onetape.core.market_digits import choose_market_digits
from onetape.core.symbols import split_symbol
from onetape.core.trading import Fill
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.execution.positions import sum_position
from onetape.store.accounts import AccountSeries, read_account_series
from onetape.store.candles import read_last_closed
from onetape.store.database import Store
from onetape.store.ledger import read_fills
from onetape.store.market_data import read_trading_rules
from onetape.store.reading import read_newest_row
from trader.commands.round_trips import PRECISION, RoundTrip, make_round_trips, sum_fees

#: Number of candles whose prices decide how many decimals are shown.
DIGITS_CANDLES: Final = 100


class AccountResult(Struct, frozen=True):
    """Profit of an account in one symbol. Amounts of money are in quote currency, exact."""

    account: AccountSeries
    """The account with the symbol."""
    fills: list[Fill]
    """Fills of the account, oldest first."""
    round_trips: list[RoundTrip]
    """Round trips of the account, oldest first; the last one may be open."""
    held: Decimal
    """Base currency held, dust included."""
    last_price: Decimal | None
    """Close of the newest stored candle, forming or closed; None if no candle is stored."""
    realised: Decimal
    """Profit of the closed round trips, after fees."""
    unrealised: Decimal | None
    """Profit of the open position at the last price, without a fee for selling it.

    0 without a position; None: the price is not known.
    """
    equity: Decimal | None
    """Start balance plus realised and unrealised profit of all symbols; None: one is unknown."""
    fees: dict[str, Decimal]
    """Fees paid by the account, by currency."""

    @property
    def open_trip(self) -> RoundTrip | None:
        """Return the round trip of the open position; None: there is no position."""
        last = self.round_trips[-1] if self.round_trips else None
        return last if last is not None and last.closed_ms is None else None

    @property
    def closed_trips(self) -> list[RoundTrip]:
        """Return the round trips that are closed, oldest first."""
        return [trip for trip in self.round_trips if trip.closed_ms is not None]

    @property
    def total_return(self) -> Decimal | None:
        """Return equity / start balance - 1; None if one of them is unknown."""
        start = self.account.start_balance
        if self.equity is None or start is None:
            return None
        return self.equity / start - 1


def make_series_key(account: AccountSeries) -> SeriesKey:
    """Return the series that an account trades."""
    return SeriesKey(account.exchange, account.symbol, account.timeframe)


def read_account_fills(store: Store, account: AccountSeries) -> list[Fill]:
    """Return the fills of an account in its symbol, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    return read_fills(
        store, account.name, account.symbol, exchange=account.exchange, mode=account.mode
    )


def read_result(store: Store, account: AccountSeries) -> AccountResult:
    """Return profit and fees of an account in one symbol, with the equity of all its symbols.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read():
        own = _read_symbol(store, account)
        others = [
            _read_symbol(store, one)
            for one in read_account_series(store, account.name)
            if make_series_key(one) != make_series_key(account)
        ]
    return add_other_symbols(own, others)


def _read_symbol(store: Store, account: AccountSeries) -> AccountResult:
    """Return the result of an account in one symbol, with an equity as if it traded no other."""
    fills = read_account_fills(store, account)
    newest = read_newest_row(store, make_series_key(account))
    steps = read_trading_rules(store, account.exchange, account.symbol)
    price = None if newest is None else Decimal(repr(newest.close))
    return compute_account_result(account, fills, price, steps)


def add_other_symbols(own: AccountResult, others: Sequence[AccountResult]) -> AccountResult:
    """Return the result of one symbol, with the equity of all symbols of the account."""
    with localcontext(prec=PRECISION):
        equity = own.equity
        for one in others:
            # A symbol that was never traded needs no price.
            profit = None if one.unrealised is None else one.realised + one.unrealised
            equity = None if equity is None or profit is None else equity + profit
    return replace(own, equity=equity)


def merge_account_results(results: Iterable[AccountResult]) -> list[AccountResult]:
    """Return one result for each account, with the round trips of all its symbols.

    The open positions of several symbols are the last round trips; `held` and `last_price` have no
    meaning in such a result.

    Args:
        results: Results of accounts, one for each symbol.
    """
    groups: dict[str, list[AccountResult]] = {}
    for one in results:
        groups.setdefault(one.account.name, []).append(one)
    return [_merge_symbol_results(parts) for parts in groups.values()]


def _merge_symbol_results(parts: Sequence[AccountResult]) -> AccountResult:
    """Return one result of the results of an account's symbols; at least one."""
    if len(parts) == 1:
        return parts[0]
    trips = [trip for part in parts for trip in part.round_trips]
    unrealised = [part.unrealised for part in parts if part.unrealised is not None]
    with localcontext(prec=PRECISION):
        return replace(
            parts[0],
            account=replace(
                parts[0].account,
                symbol=", ".join(part.account.symbol for part in parts),
                strategy=", ".join(dict.fromkeys(part.account.strategy for part in parts)),
            ),
            fills=sorted(
                (fill for part in parts for fill in part.fills), key=lambda one: one.executed_ms
            ),
            round_trips=sorted(trips, key=lambda one: (one.closed_ms is None, one.opened_ms)),
            held=Decimal(0),
            last_price=None,
            realised=sum((part.realised for part in parts), Decimal(0)),
            unrealised=sum(unrealised, Decimal(0)) if len(unrealised) == len(parts) else None,
            fees=sum_fees(fill for part in parts for fill in part.fills),
        )


def read_digits(store: Store, account: AccountSeries) -> Digits:
    """Return the decimals with which prices, amounts and money of an account are shown.

    Raises:
        StoreError: the file cannot be read.
    """
    steps = read_trading_rules(store, account.exchange, account.symbol) or NO_TRADING_RULES
    candles = read_last_closed(store, make_series_key(account), DIGITS_CANDLES)
    start = 0.0 if account.start_balance is None else float(account.start_balance)
    return choose_market_digits(steps, candles, account.currency, start)


def compute_account_result(
    account: AccountSeries,
    fills: list[Fill],
    last_price: Decimal | None,
    trading_rules: TradingRules | None = None,
) -> AccountResult:
    """Return positions, profit and fees of an account, computed from its fills.

    Args:
        account: The account with the symbol.
        fills: All fills of the account in the symbol, oldest first.
        last_price: Price of the open position, quote currency; None: not known.
        trading_rules: Trading rules of the market: an amount below its minimum order is dust, and
            no position. None: any amount is a position.
    """
    base, quote = split_symbol(account.symbol)
    trips = make_round_trips(fills, base, quote, trading_rules)
    with localcontext(prec=PRECISION):
        position = sum_position(fills, base, quote)
        realised = sum((trip.profit or Decimal(0) for trip in trips), Decimal(0))
        open_flow = position.quote - realised
        value = Decimal(0) if position.base == 0 else None
        if last_price is not None:
            value = position.base * last_price
        unrealised = None if value is None else open_flow + value
        start = account.start_balance
        return AccountResult(
            account=account,
            fills=fills,
            round_trips=trips,
            held=position.base,
            last_price=last_price,
            realised=realised,
            unrealised=unrealised,
            equity=None if unrealised is None or start is None else start + realised + unrealised,
            fees=sum_fees(fills),
        )
