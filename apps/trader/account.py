"""The account of a trader, paper or live: its name, its opening, and what may not change later.

The first session of an account stores its mode, exchange, currency and start balance, and the
strategy of each symbol. A later start with other values is refused.
"""

import json
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Final

from msgspec import structs

from onetape.core.candles import SeriesKey
from onetape.core.clock import format_utc
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.core.symbols import split_symbol
from onetape.core.trading_rules import format_decimal
from onetape.execution.positions import sum_position
from onetape.store.account_reading import is_lease_holder_alive, read_lease
from onetape.store.accounts import AccountSeries, open_account, read_account_series
from onetape.store.database import Store
from onetape.store.leases import Fence, make_lease_name
from onetape.store.ledger import read_fills
from onetape.store.reservations import release_abandoned
from onetape.store.sessions import read_newest_session
from trader.session_context import SessionContext
from trader.settings import TraderSettings

#: Start balance of a new account without a setting, quote currency.
DEFAULT_BALANCE: Final = Decimal(10_000)
#: Maximum length of an account's name, characters.
LONGEST_NAME: Final = 100
#: Remedy in errors about an account that was opened with other settings.
OTHER_ACCOUNT_HINT: Final = "open another account with --account NAME"


def choose_account_name(settings: TraderSettings, keys: Sequence[SeriesKey]) -> str:
    """Return the account's name: of the settings, or `MODE EXCHANGE SYMBOLS TIMEFRAME`.

    Args:
        settings: Settings of the trader.
        keys: The series that it trades, at least one.

    Raises:
        UsageError: the name would be longer than `LONGEST_NAME`, because of many symbols.
    """
    name = settings.account_name
    if name is not None:
        return unicodedata.normalize("NFC", name)
    key = keys[0]
    symbols = ",".join(sorted(one.symbol for one in keys))
    name = f"{key}" if len(keys) == 1 else f"{key.exchange} {symbols} {key.timeframe}"
    name = f"{settings.mode} {name}"
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"the name of an account of {len(keys)} symbols would be longer than {LONGEST_NAME} "
            "characters; give one with --account NAME",
            setting="account_name",
        )
    return name


def get_configured_balance(settings: TraderSettings) -> Decimal:
    """Return the start balance that the settings state for a new account, quote currency."""
    cash = settings.cash
    return DEFAULT_BALANCE if cash is None else cash


def check_account_name(settings: TraderSettings) -> None:
    """Refuse an account name that is too long, empty, or has characters that cannot be printed.

    Raises:
        UsageError: the name cannot be used.
    """
    name = settings.account_name
    if name is not None and not _is_name(name):
        raise UsageError(
            f"account_name must be 1 to {LONGEST_NAME} printable characters without a space at "
            f"either end, found {name!r}",
            setting="account_name",
        )


def check_stored_account(
    stored: Sequence[AccountSeries], settings: TraderSettings, key: SeriesKey, strategy: str
) -> None:
    """Refuse settings that differ from those that a stored account was opened with.

    Args:
        stored: The stored account, one record for each of its symbols; empty: a new account.
        settings: Settings of the account; a stated start balance must equal the stored one.
        key: The series to trade.
        strategy: Name of the strategy to trade with.

    Raises:
        SafetyRefusal: another mode, exchange, currency, timeframe, strategy or start balance.
    """
    if not stored:
        return
    account = stored[0]
    if account.mode != settings.mode:
        raise SafetyRefusal(
            f"account {account.name} trades {_format_mode(account.mode)}, not "
            f"{_format_mode(settings.mode)}; {OTHER_ACCOUNT_HINT}"
        )
    found = SeriesKey(account.exchange, account.symbol, account.timeframe)
    quote = split_symbol(key.symbol)[1]
    if account.exchange != key.exchange or account.currency != quote:
        raise SafetyRefusal(
            f"account {account.name} trades {found} with {account.currency}, not {key}; "
            f"{OTHER_ACCOUNT_HINT}"
        )
    own = next((one for one in stored if one.symbol == key.symbol), None)
    if own is not None and own.timeframe != key.timeframe:
        found = SeriesKey(own.exchange, own.symbol, own.timeframe)
        raise SafetyRefusal(f"account {own.name} trades {found}, not {key}; {OTHER_ACCOUNT_HINT}")
    if own is not None and own.strategy != strategy:
        raise SafetyRefusal(
            f"account {own.name} trades {own.symbol} by strategy {own.strategy}, not {strategy}; "
            f"use --strategy {own.strategy}, or {OTHER_ACCOUNT_HINT}"
        )
    wanted, balance = settings.cash, account.start_balance
    if wanted is not None and balance is not None and wanted != balance:
        raise SafetyRefusal(
            f"account {account.name} was opened with {_format_money(balance)} {account.currency}, "
            f"and cash (--cash, or account.cash in the settings) is {_format_money(wanted)} now; "
            f"leave cash out, or {OTHER_ACCOUNT_HINT}"
        )


def _format_mode(mode: str) -> str:
    return "real money (live)" if mode == "live" else "on paper"


def release_abandoned_entries(store: Store, account: str, wall_ms: int) -> list[str]:
    """Free the money that a killed trader had reserved for entries; return a line for each entry.

    The entries were never sent, or are paper orders that no process fills any more. Symbols that a
    running trader trades are left out.

    Args:
        store: The open database.
        account: Name of the account.
        wall_ms: The computer's time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read or written.
    """

    def is_traded(symbol: str) -> bool:
        name = make_lease_name(account, symbol)
        lease = read_lease(store, name)
        return lease is not None and is_lease_holder_alive(store, name, lease, wall_ms)

    return [
        f"account {account}: money reserved for an entry "
        f"in {symbol} that was never filled is free again"
        for symbol in release_abandoned(store, account, is_traded)
    ]


def open_or_continue_account(
    context: SessionContext, fence: Fence
) -> tuple[SessionContext, list[str]]:
    """Store the account if it is new; return the context with the stored start balance.

    Args:
        context: Context of the traded symbol; its settings may name a start balance.
        fence: The lease of account and symbol.

    Returns:
        The context with the stored start balance, and the lines to print: that the account was
        opened, or that it trades a symbol from now on.

    Raises:
        SafetyRefusal: the account was opened for something else, or another process took it over.
        StoreError: the file cannot be read or written.
    """
    session, currency = context.session, context.market.quote
    name, key = session.account, context.key
    stored = read_account_series(context.store, name)
    check_stored_account(stored, context.settings, key, session.strategy)
    balance = stored[0].start_balance if stored else None
    is_known = any(one.symbol == key.symbol for one in stored)
    if balance is not None:
        new = f"account {name}: {key.symbol} is traded with its money from now on"
        return _replace_start_balance(context, balance), [] if is_known else [new]
    if stored:
        _check_covers_fills(context, get_configured_balance(context.settings))
    opened = AccountSeries(
        name,
        session.mode,
        *key.names,
        session.strategy,
        currency,
        get_configured_balance(context.settings),
        session.started_ms,
    )
    open_account(context.store, opened, fence)
    # Another process may have opened the account meanwhile.
    series = read_account_series(context.store, name)
    check_stored_account(series, context.settings, key, session.strategy)
    balance = series[0].start_balance or get_configured_balance(context.settings)
    line = f"account {name}: opened with {_format_money(balance)} {currency}"
    if stored:
        line = (
            f"account {name}: an earlier version opened it and did not store its start balance; "
            f"{_format_money(balance)} {currency} is stored now and stays"
        )
    return _replace_start_balance(context, balance), [line]


def describe_session_changes(context: SessionContext) -> str | None:
    """Return what differs from the symbol's last session, as a text; None: nothing, or no session.

    Compared are parameters, rules (sizes, costs, exits) and the code of the strategy.
    """
    before, now = (
        read_newest_session(context.store, context.session.account, context.key.symbol),
        context.session,
    )
    if before is None:
        return None
    pairs = ((before.parameters, now.parameters), (before.rules, now.rules))
    found = [
        f"{name} {_format_value(old[name])} -> {_format_value(new.get(name))}"
        # As JSON, which the stored values went through.
        for old, new in ((old, json.loads(json.dumps(dict(new)))) for old, new in pairs)
        for name in old
        if old[name] != new.get(name)
    ]
    if before.code_digest != now.code_digest:
        found.append(f"code {before.code_digest[:8]} -> {now.code_digest[:8]}")
    if not found:
        return None
    return (
        f"changed since the session of {format_utc(before.started_ms // 1_000)}: {', '.join(found)}"
    )


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip() != ""


def _replace_start_balance(context: SessionContext, balance: Decimal) -> SessionContext:
    rules = structs.replace(context.rules, cash=float(balance))
    return structs.replace(context, start_balance=balance, rules=rules)


def _check_covers_fills(context: SessionContext, balance: Decimal) -> None:
    """Refuse a start balance that the stored fills of an account prove wrong.

    Raises:
        SafetyRefusal: a buy cost more than the account had.
    """
    key, market = context.key, context.market
    fills = read_fills(
        context.store,
        context.session.account,
        key.symbol,
        exchange=key.exchange,
        mode=context.session.mode,
    )
    flows = (sum_position([fill], market.base, market.quote).quote for fill in fills)
    needed = -min(accumulate(flows), default=Decimal())
    if needed > balance:
        raise SafetyRefusal(
            f"account {context.session.account}: an earlier version opened it and did not store "
            f"its start balance, which cannot be {_format_money(balance)} {market.quote}, "
            f"because its fills took {_format_money(needed)}; "
            f"give the right one with --cash, or {OTHER_ACCOUNT_HINT}"
        )


def _format_money(amount: Decimal) -> str:
    """Return an amount with all its digits: `10,000`, `0.12345678`."""
    whole, _, decimals = format_decimal(amount).partition(".")
    return f"{int(whole):,}" + (f".{decimals}" if decimals else "")


def _format_value(value: object) -> str:
    return "none" if value is None else str(value)
