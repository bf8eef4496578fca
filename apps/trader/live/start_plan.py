"""The plan of a start: the symbols that it trades, and those that may only exit.

The plan is made of the settings and of the positions that the database has, before any request to
the exchange. Every start continues an open position or order, also one of a symbol that is not in
the settings any more, or whose timeframe or cash has changed: such a symbol goes on with strategy
and timeframe of its last session, and makes no entries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field, structs

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import SeriesKey
from onetape.core.errors import OnetapeError
from onetape.core.symbols import split_symbol
from onetape.core.trading import Mode, Session
from onetape.execution.positions import sum_position
from onetape.store.account_reading import is_lease_holder_alive, read_lease, read_traded_series
from onetape.store.accounts import AccountSeries, read_account_series
from onetape.store.database import Store
from onetape.store.leases import make_lease_name
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_live_account
from onetape.store.orders import has_open_or_unbooked_orders
from onetape.store.sessions import read_newest_session
from trader.account import choose_account_name
from trader.settings import TraderSettings
from trader.states import Problem
from trader.traded_symbols import TradedSymbol


class StartPlan(Struct, frozen=True):
    """Symbols that a start trades, and those among them that only exit."""

    settings: TraderSettings
    """Settings of the trader, with the timeframe and the account of an open position."""
    symbols: tuple[TradedSymbol, ...]
    """Symbols of the settings, then others with an open position or order."""
    exits_only: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason why a symbol gets exits and no entries, by symbol."""
    held: Mapping[str, TradedSymbol] = field(default_factory=dict[str, TradedSymbol])
    """Series with an open position or order, by symbol, as their last session traded them."""
    stand_ins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of strategies that could not be loaded, by symbol; one without exits runs instead."""
    sessions: Mapping[str, Session] = field(default_factory=dict[str, Session])
    """Last session of each series with an open position or order, by symbol."""
    open_on_paper: frozenset[str] = frozenset()
    """Symbols of the account with a position or an order on paper."""
    exchange_account: str | None = None
    """The exchange's own id of the account whose position or order is open."""
    stored_rules: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Order sizes, costs and exits of the last session, where a position or an order is open."""
    strategy_fault: OnetapeError | None = None
    """Error of loading a strategy, or the saved run that names it; None: no error."""
    is_loading: bool = False
    """Whether strategies are being loaded, so that no symbol makes entries meanwhile."""

    @property
    def account(self) -> str:
        """Return the name of the account."""
        return choose_account_name(
            self.settings, [traded_symbol.key for traded_symbol in self.symbols]
        )

    @property
    def open_series(self) -> Mapping[str, TradedSymbol]:
        """Return the traded series with an open position or order, live or on paper, by symbol."""
        names = self.open_on_paper
        return self.held or {
            traded_symbol.key.symbol: traded_symbol
            for traded_symbol in self.symbols
            if traded_symbol.key.symbol in names
        }

    def find_entry_ban(self, symbol: str) -> Problem | None:
        """Return the problem by which a symbol makes no entries; None: entries are allowed."""
        reason = self.exits_only.get(symbol)
        if reason is not None and self.is_loading:
            return make_exits_only_problem(reason, "trading begins once it is loaded")
        return None if reason is None else make_exits_only_problem(reason)


def make_exits_only_problem(
    reason: str, remedy: str = "put it right, then start the trader again"
) -> Problem:
    """Return the problem of a symbol that makes exits and no entries.

    Args:
        reason: Description of the change.
        remedy: Action that a person should take.
    """
    return Problem(f"exits only: {reason}", "no entries; exits and stops go on", remedy)


def plan_start(
    store: Store, settings: TraderSettings, symbols: Sequence[TradedSymbol]
) -> StartPlan:
    """Return the plan of a start: symbols of the settings, and open positions of the account.

    Args:
        store: The database of the trader.
        settings: Settings of the trader.
        symbols: Symbols of the settings, at least one.

    Raises:
        StoreError: the file cannot be read.
    """
    name = _choose_account_name(store, settings, symbols)
    stored = [
        account_series
        for account_series in read_account_series(store, name)
        if is_open(store, account_series)
    ]
    if not stored:
        return StartPlan(settings, tuple(symbols))
    held = {
        account_series.symbol: _restore_traded_symbol(store, account_series)
        for account_series in stored
    }
    exits_only: dict[str, str] = {}
    found = {
        account_series.symbol: read_newest_session(store, name, account_series.symbol)
        for account_series in stored
    }
    sessions = {symbol: session for symbol, session in found.items() if session is not None}
    session = sessions.get(stored[0].symbol)
    settings = structs.replace(
        _apply_stored_values(settings, stored[0], symbols, exits_only), account_name=name
    )
    planned = {
        traded_symbol.key.symbol: structs.replace(
            traded_symbol, key=structs.replace(traded_symbol.key, timeframe=stored[0].timeframe)
        )
        for traded_symbol in symbols
    }
    for symbol, traded_symbol in held.items():
        if symbol not in planned:
            exits_only[symbol] = f"{symbol} is not in the settings any more"
            planned[symbol] = traded_symbol
    account = read_live_account(store, name)
    return StartPlan(
        settings,
        tuple(planned.values()),
        exits_only,
        held,
        sessions=sessions,
        exchange_account=None if account is None else account.exchange_account,
        stored_rules={} if session is None else session.rules,
    )


def is_open(store: Store, account: AccountSeries) -> bool:
    """Return whether a series of an account has an open position, or an order that is not over.

    Args:
        store: The database of the trader.
        account: The series with its account.

    Raises:
        StoreError: the file cannot be read.
    """
    base, quote = split_symbol(account.symbol)
    fills = read_fills(
        store, account.name, account.symbol, exchange=account.exchange, mode=account.mode
    )
    if not sum_position(fills, base, quote).is_flat:
        return True
    return has_open_or_unbooked_orders(store, account.name, account.symbol)


def has_open_series(store: Store, account: str) -> bool:
    """Return whether an account has an open position or order in any of its series."""
    return any(
        is_open(store, account_series) for account_series in read_account_series(store, account)
    )


def format_unattended_lines(store: Store, account: str, wall_ms: int) -> list[str]:
    """Return a line for each open live position or order of another account that no trader runs.

    Args:
        store: The database of the trader.
        account: Account of the trader that starts.
        wall_ms: The computer's time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    lines: list[str] = []
    for account_series in read_traded_series(store, "live"):
        if account_series.name == account or not is_open(store, account_series):
            continue
        name = make_lease_name(account_series.name, account_series.symbol)
        lease = read_lease(store, name)
        if lease is None or not is_lease_holder_alive(store, name, lease, wall_ms):
            lines.append(
                f"account {account_series.name} has an open position or order in "
                f"{account_series.symbol}, and no trader runs for it: a stop at the exchange "
                "stays, nothing else sells; start its trader, "
                f'with --live --account "{account_series.name}"'
            )
    return lines


def _choose_account_name(
    store: Store, settings: TraderSettings, symbols: Sequence[TradedSymbol]
) -> str:
    """Return the account of a start: the stored account as long as it has an open position.

    An account without a name in the settings is named by its symbols and timeframe, so one whose
    symbol was removed would get another name. Accounts that share no symbol with the settings may
    belong to another trader.
    """
    name = choose_account_name(settings, [traded_symbol.key for traded_symbol in symbols])
    if settings.account_name is not None:
        return name
    wanted = {traded_symbol.key.symbol for traded_symbol in symbols}
    mode: Mode = "live" if settings.mode == "live" else "paper"
    stored = [
        account_series
        for account_series in read_traded_series(store, mode)
        if account_series.exchange == settings.exchange
    ]
    sharing = {account_series.name for account_series in stored if account_series.symbol in wanted}
    holding = [
        account_series.name
        for account_series in stored
        if account_series.name in sharing and is_open(store, account_series)
    ]
    return name if name in holding or not holding else holding[0]


def _apply_stored_values(
    settings: TraderSettings,
    account: AccountSeries,
    symbols: Sequence[TradedSymbol],
    exits_only: dict[str, str],
) -> TraderSettings:
    """Return settings with the timeframe and the money that the position was entered with."""
    found: list[str] = []
    if settings.cash not in (None, account.start_balance):
        found.append(
            f"cash is {settings.cash} now, and the account was opened with {account.start_balance}"
        )
        settings = structs.replace(settings, cash=None)
    if symbols[0].key.timeframe != account.timeframe:
        found.append(
            f"the timeframe is {settings.timeframe} now, and the position's is {account.timeframe}"
        )
        settings = structs.replace(settings, timeframe=account.timeframe)
    if found:
        exits_only.update((traded_symbol.key.symbol, "; ".join(found)) for traded_symbol in symbols)
    return settings


def _restore_traded_symbol(store: Store, account: AccountSeries) -> TradedSymbol:
    """Return a series with the strategy and parameters of its last session."""
    session = read_newest_session(store, account.name, account.symbol)
    stored = {} if session is None else dict(session.parameters)
    parameters = {name: str(value) for name, value in stored.items()}
    strategy = StrategySettings(name=account.strategy, parameters=parameters)
    key = SeriesKey(account.exchange, account.symbol, account.timeframe)
    return TradedSymbol(key, strategy)
