"""Money that several accounts of the database share, as one account at the exchange.

A new account without `cash` would take all of the free money for its own, and an account that was
opened before counts the same money. Dividing it here would need to know which deposits and
withdrawals were meant for which account, so a person states the amount.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from onetape.cli.output import print_line
from onetape.core.symbols import split_symbol
from onetape.core.trading_rules import format_decimal
from onetape.store.account_reading import read_accounts
from onetape.store.accounts import AccountSeries, read_account
from onetape.store.database import Store, open_store
from onetape.store.live_accounts import read_live_account
from onetape.store.reservations import AccountCash
from trader.live.opening import LiveAccess, make_shared_money_refusal
from trader.live.start_plan import StartPlan


def check_shared_money(path: Path, plan: StartPlan, access: LiveAccess) -> None:
    """Refuse a new account without `cash` whose money another account counts already.

    Args:
        path: Database of the trader, which may not exist yet.
        plan: Plan of the start, with its symbols.
        access: The account of the key.

    Raises:
        SafetyRefusal: the text names the other account and the remedy.
        StoreError: the file cannot be used.
    """
    if path.exists():
        with open_store(path, create=False) as store:
            _check(plan, _find_sharing_accounts(store, plan, access))


def warn_of_shared_money(store: Store, plan: StartPlan, access: LiveAccess) -> None:
    """Warn if the money of a new account is not enough for all accounts that count it.

    An account without `cash` is refused in the transaction that opens it (`open_live_account`).

    Args:
        store: The database of the trader.
        plan: Plan of the start, with its symbols.
        access: The account of the key.

    Raises:
        StoreError: the file cannot be used.
    """
    others, cash = _find_sharing_accounts(store, plan, access), plan.settings.cash
    if not others or cash is None:
        return
    first = others[0]
    counted = sum((AccountCash(store, one.name, "live").read() for one in others), cash)
    balance = access.balances.get(first.currency)
    money = max((Decimal(0) if balance is None else balance.total) - access.booked, Decimal(0))
    if counted > money:
        names = ", ".join(one.name for one in others)
        print_line(
            f"account {plan.account} and {names} together count on {format_decimal(counted)} "
            f"{first.currency}, and the account at {first.exchange} has {format_decimal(money)}: "
            "an entry may be smaller than the rules state, or refused",
            level="WARNING",
        )


def _check(plan: StartPlan, others: Sequence[AccountSeries]) -> None:
    if not others:
        return
    first, cash = others[0], plan.settings.cash
    if cash is None:
        raise make_shared_money_refusal(plan.account, first.name, first.currency, first.exchange)


def _find_sharing_accounts(
    store: Store, plan: StartPlan, access: LiveAccess
) -> list[AccountSeries]:
    """Return the accounts that count the money of a new account; empty if it is opened already."""
    if read_account(store, plan.account) is not None:
        return []
    quote = split_symbol(plan.symbols[0].key.symbol)[1]
    return list(_iterate_other_accounts(store, plan, access.exchange_account, quote))


def _iterate_other_accounts(
    store: Store, plan: StartPlan, exchange_account: str, quote: str
) -> Iterator[AccountSeries]:
    """Yield the live accounts in a currency of the account at the exchange, except a plan's own."""
    for one in read_accounts(store, "live"):
        if one.currency != quote or one.name == plan.account:
            continue
        account = read_live_account(store, one.name)
        if account is None or account.exchange != plan.settings.exchange:
            continue
        if account.exchange_account == exchange_account and one.start_balance is not None:
            yield one
