"""Checks that accounts of the database do not count the same money at the exchange twice.

Several accounts of the database may trade one account at the exchange. A new account without `cash`
would count all free money there as its own, although an earlier account counts it too. The program
cannot divide the money, because it does not know which deposits were meant for which account. So a
person states the amount: a new account without `cash` is refused, and a warning is printed if the
stated amounts together are more than the balance.
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
        access: The account at the exchange.

    Raises:
        SafetyRefusal: the text names the other account and the remedy.
        StoreError: the file cannot be used.
    """
    if path.exists():
        with open_store(path, create=False) as store:
            _refuse_without_cash(plan, _find_sharing_accounts(store, plan, access))


def warn_of_shared_money(store: Store, plan: StartPlan, access: LiveAccess) -> None:
    """Print a warning if the accounts that share money count more than the exchange has.

    Only a new account with `cash` is checked. One without is refused in the transaction that opens
    the account (`open_live_account`).

    Args:
        store: The database of the trader.
        plan: Plan of the start, with its symbols.
        access: The account at the exchange.

    Raises:
        StoreError: the file cannot be used.
    """
    others, cash = _find_sharing_accounts(store, plan, access), plan.settings.cash
    if not others or cash is None:
        return
    first = others[0]
    counted = sum(
        (AccountCash(store, account_series.name, "live").read() for account_series in others), cash
    )
    balance = access.balances.get(first.currency)
    money = max((Decimal(0) if balance is None else balance.total) - access.booked, Decimal(0))
    if counted > money:
        names = ", ".join(account_series.name for account_series in others)
        print_line(
            f"account {plan.account} and {names} together count on {format_decimal(counted)} "
            f"{first.currency}, and the account at {first.exchange} has {format_decimal(money)}: "
            "an entry may be smaller than the rules state, or refused",
            level="WARNING",
        )


def _refuse_without_cash(plan: StartPlan, others: Sequence[AccountSeries]) -> None:
    if not others:
        return
    first, cash = others[0], plan.settings.cash
    if cash is None:
        raise make_shared_money_refusal(plan.account, first.name, first.currency, first.exchange)


def _find_sharing_accounts(
    store: Store, plan: StartPlan, access: LiveAccess
) -> list[AccountSeries]:
    """Return other accounts that count the money of a plan's new account; empty: it is not new."""
    if read_account(store, plan.account) is not None:
        return []
    quote = split_symbol(plan.symbols[0].key.symbol)[1]
    return list(_iterate_other_accounts(store, plan, access.exchange_account, quote))


def _iterate_other_accounts(
    store: Store, plan: StartPlan, exchange_account: str, quote: str
) -> Iterator[AccountSeries]:
    """Yield the other live accounts of the database that use a currency of the exchange account."""
    for account_series in read_accounts(store, "live"):
        if account_series.currency != quote or account_series.name == plan.account:
            continue
        account = read_live_account(store, account_series.name)
        if account is None or account.exchange != plan.settings.exchange:
            continue
        if (
            account.exchange_account == exchange_account
            and account_series.start_balance is not None
        ):
            yield account_series
