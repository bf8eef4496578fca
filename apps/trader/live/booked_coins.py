"""Coins that positions of the database have at one account of an exchange, whatever their name."""

from decimal import Decimal

from onetape.core.symbols import split_symbol
from onetape.exchange.trading_records import Balance
from onetape.execution.positions import sum_position
from onetape.store.account_reading import read_traded
from onetape.store.database import Store
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_live_account
from onetape.store.orders import sum_unbooked_buys

_ZERO = Decimal(0)


def booked_coins(store: Store, exchange: str, exchange_account: str, currency: str) -> Decimal:
    """Return the amount of a currency booked as positions and as buys of unknown outcome.

    Args:
        store: The database of the trader.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC; positions in BTC/USDT count, those in ETH/BTC do not.

    Raises:
        StoreError: the file cannot be read.
    """
    total = _ZERO
    for one in read_traded(store, "live"):
        base, quote = split_symbol(one.symbol)
        if one.exchange != exchange or base != currency:
            continue
        account = read_live_account(store, one.name)
        if account is None or account.exchange_account != exchange_account:
            continue
        fills = read_fills(store, one.name, one.symbol, exchange=exchange, mode="live")
        total += max(sum_position(fills, base, quote).base, _ZERO)
        total += sum_unbooked_buys(store, one.name, one.symbol)
    return total


def free_money(balance: Balance | None, booked: Decimal) -> Decimal:
    """Return how much of a currency is free and belongs to no position.

    Args:
        balance: Balance of the currency; None: the account has none.
        booked: Amount of the currency that is booked as positions.
    """
    if balance is None:
        return _ZERO
    return max(min(balance.free, balance.total - booked), _ZERO)
