"""Sums of a currency that the database has booked at one account of an exchange.

Several accounts of the database, with different names, may trade one account at the exchange, which
has one balance of each currency. These functions sum over all of them.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from onetape.core.symbols import split_symbol
from onetape.core.trading import Fill
from onetape.exchange.trading_records import Balance
from onetape.execution.positions import sum_position
from onetape.store.account_reading import read_traded_series
from onetape.store.accounts import AccountSeries
from onetape.store.database import Store
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_live_account
from onetape.store.orders import sum_unbooked_buys

#: Prefix of the trade ids of corrections (`order_adoption.py`): booked sales without an order.
CORRECTION_PREFIX: Final = "correction-"
_ZERO: Final = Decimal(0)


def sum_booked_coins(store: Store, exchange: str, exchange_account: str, currency: str) -> Decimal:
    """Return the amount of a currency in positions, and in buys whose fills are not booked yet.

    Args:
        store: The database of the trader.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC; positions in BTC/USDT count, those in ETH/BTC do not.

    Raises:
        StoreError: the file cannot be read.
    """
    total = _ZERO
    for account_series in _read_traded_of(store, exchange, exchange_account):
        base, quote = split_symbol(account_series.symbol)
        if base != currency:
            continue
        fills = read_fills(
            store, account_series.name, account_series.symbol, exchange=exchange, mode="live"
        )
        total += max(sum_position(fills, base, quote).base, _ZERO)
        total += sum_unbooked_buys(store, account_series.name, account_series.symbol)
    return total


def sum_unbooked(store: Store, exchange: str, exchange_account: str, currency: str) -> Decimal:
    """Return the amount of a currency that open or unknown buys may have bought, not booked yet.

    Args:
        store: The database of the trader.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC, as base currency.

    Raises:
        StoreError: the file cannot be read.
    """
    total = _ZERO
    for account_series in _read_traded_of(store, exchange, exchange_account):
        if split_symbol(account_series.symbol)[0] == currency:
            total += sum_unbooked_buys(store, account_series.name, account_series.symbol)
    return total


def sum_executed(
    store: Store,
    exchange: str,
    exchange_account: str,
    currency: str,
    *,
    after_ms: int,
    until_ms: int | None = None,
) -> Decimal:
    """Return the change of a currency's balance by the fills in a range of time, fees included.

    Corrections are left out, because the time of the real sale is unknown.

    Args:
        store: The database of the trader.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC; as base currency, as quote currency and as currency of fees.
        after_ms: Executions after this exchange time count, epoch milliseconds.
        until_ms: Executions up to this exchange time count; None: all later ones.

    Raises:
        StoreError: the file cannot be read.
    """
    total = _ZERO
    for account_series in _read_traded_of(store, exchange, exchange_account):
        fills = read_fills(
            store,
            account_series.name,
            account_series.symbol,
            exchange=exchange,
            mode="live",
            after_ms=after_ms,
        )
        for fill in fills:
            is_counted = until_ms is None or fill.executed_ms <= until_ms
            if is_counted and not fill.exchange_trade_id.startswith(CORRECTION_PREFIX):
                total += _compute_change(fill, currency)
    return total


def _compute_change(fill: Fill, currency: str) -> Decimal:
    """Return the change of a currency's amount by one execution."""
    base, quote = split_symbol(fill.symbol)
    sign = 1 if fill.side == "buy" else -1
    change = _ZERO
    if base == currency:
        change += sign * fill.amount
    if quote == currency:
        change -= sign * fill.amount * fill.price
    return change - fill.fee if fill.fee_currency == currency else change


def _read_traded_of(store: Store, exchange: str, exchange_account: str) -> Iterator[AccountSeries]:
    """Yield the positions and fills on one account of an exchange, one record for each symbol."""
    for account_series in read_traded_series(store, "live"):
        if account_series.exchange != exchange:
            continue
        account = read_live_account(store, account_series.name)
        if account is not None and account.exchange_account == exchange_account:
            yield account_series


def compute_free_money(balance: Balance | None, booked: Decimal) -> Decimal:
    """Return the amount of a currency that is free and belongs to no position.

    Args:
        balance: Balance of the currency; None: the account has none.
        booked: Amount of the currency in positions of all accounts, from `sum_booked_coins`.
    """
    if balance is None:
        return _ZERO
    return max(min(balance.free, balance.total - booked), _ZERO)
