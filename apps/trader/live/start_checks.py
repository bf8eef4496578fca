"""Checks of a start's symbols: stored account, markets, and other accounts in the same coins.

A failed check refuses the start. With a position or an order open, a start must not be refused
because of a symbol that has none: that symbol is left out, and the others make no entries until a
person has corrected the cause. A symbol whose market is not listed any more is left out although it
has a position, because nothing can be sold there; the others go on.
"""

import time
from pathlib import Path

from msgspec import Struct, structs

from onetape.cli.output import print_line
from onetape.core.candles import SeriesKey
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.core.symbols import split_symbol
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.store.account_reading import read_traded_series
from onetape.store.accounts import read_account_series
from onetape.store.database import Store, open_store
from onetape.store.live_accounts import read_live_account
from onetape.store.sessions import read_newest_session
from trader.account import check_stored_account
from trader.delisted import note_delisted, note_listed, write_off_if_answered
from trader.evaluator.results import StrategyEvaluator
from trader.live.start_plan import StartPlan, format_unattended_lines, is_open
from trader.settings import choose_trader_database
from trader.strategy_origin import check_origin


class Start(Struct, frozen=True):
    """Symbols that a start trades, with the evaluator of each."""

    plan: StartPlan
    """Plan of the start; its symbols are those that are traded."""
    evaluators: tuple[StrategyEvaluator, ...]
    """Evaluators of strategies, in the order of the plan's symbols."""

    def leave_out(self, symbol: str, reason: str) -> "Start":
        """Return the start without a symbol that has no position; the others make no entries.

        Args:
            symbol: A symbol of the start.
            reason: Reason why the symbol is left out, as a text.
        """
        start = self._copy_without(symbol)
        plan = start.plan
        found = f"{symbol} is left out: {reason}"
        bans = {
            name: f"{plan.exits_only[name]}; {found}" if name in plan.exits_only else found
            for name in (traded_symbol.key.symbol for traded_symbol in plan.symbols)
        }
        plan = structs.replace(plan, exits_only={**plan.exits_only, **bans})
        return Start(plan, start.evaluators)

    def forbid_entries(self, symbol: str, reason: str) -> "Start":
        """Return the start with a symbol that has a position, and makes exits only.

        Args:
            symbol: A symbol of the start.
            reason: Reason why the symbol makes no entries, as a text.
        """
        bans = {symbol: reason, **self.plan.exits_only}
        return Start(structs.replace(self.plan, exits_only=bans), self.evaluators)

    def leave_out_delisted(self, symbol: str, reason: str) -> "Start":
        """Return the start without a symbol whose position cannot be sold; the others go on.

        The position stays in the database, with its money and its slot. The symbol is stored as
        delisted, and a line with the remedy is printed.

        Args:
            symbol: A symbol of the start.
            reason: Text that the exchange does not list the symbol.

        Raises:
            UsageError: no other symbol is left to be traded.
        """
        settings, account = self.plan.settings, self.plan.account
        note_delisted(choose_trader_database(settings), account, symbol, reason)
        answered = write_off_if_answered(choose_trader_database(settings), account, symbol)
        if answered is not None:
            print_line(answered)
        advice = "free its money and its slot: uv run trader reconcile"
        if settings.mode == "live":
            advice = f"sell, convert or withdraw its coins at the exchange, then {advice}"
        if len(self.plan.symbols) == 1:
            raise UsageError(
                f"{reason}; the position in {symbol} cannot be sold here: "
                f"{advice}, and trade another symbol"
            )
        print_line(
            f"{symbol} is left out, with its open position or order: {reason}; the other symbols "
            f"go on; {advice}",
            level="ERROR",
            event="market",
            symbol=symbol,
        )
        return self._copy_without(symbol)

    def _copy_without(self, symbol: str) -> "Start":
        """Return the start without a symbol, under the same name of the account."""
        plan = self.plan
        pairs = zip(plan.symbols, self.evaluators, strict=True)
        left = [
            (traded_symbol, evaluator)
            for traded_symbol, evaluator in pairs
            if traded_symbol.key.symbol != symbol
        ]
        plan = structs.replace(
            plan,
            settings=structs.replace(plan.settings, account_name=plan.account),
            symbols=tuple(traded_symbol for traded_symbol, _ in left),
        )
        return Start(plan, tuple(evaluator for _, evaluator in left))

    def may_leave_out(self, symbol: str) -> bool:
        """Return whether a symbol has no open position or order while another symbol has.

        A position at another exchange does not count: this start cannot sell it.
        """
        plan = self.plan
        exchanges = {traded_symbol.key.exchange for traded_symbol in plan.held.values()}
        return exchanges == {plan.settings.exchange} and symbol not in plan.held


def check_accounts(store: Store, start: Start) -> Start:
    """Compare the symbols of a start with the stored account; return the start without unfit ones.

    A line is printed for each position of another account that no trader runs.

    Args:
        store: The database of the trader.
        start: The start with its symbols.

    Raises:
        SafetyRefusal: another mode, exchange, currency, timeframe, strategy or start balance.
        StoreError: the file cannot be read.
    """
    plan, stored = start.plan, read_account_series(store, start.plan.account)
    for traded_symbol, evaluator in zip(plan.symbols, start.evaluators, strict=True):
        symbol = traded_symbol.key.symbol
        name = plan.stand_ins.get(symbol, evaluator.strategy.name)
        try:
            check_stored_account(stored, plan.settings, traded_symbol.key, name)
            check_origin(read_newest_session(store, plan.account, symbol), evaluator)
        except SafetyRefusal as error:
            if not start.may_leave_out(symbol):
                raise
            start = start.leave_out(symbol, str(error))
    for line in format_unattended_lines(store, plan.account, time.time_ns() // 1_000_000):
        print_line(line, level="WARNING")
    return start


async def fetch_traded_markets(
    exchange: RestExchange, start: Start
) -> tuple[Start, list[MarketInfo]]:
    """Return the start without symbols that are not listed, and the markets of the others.

    The timeframe and the clock of the exchange are checked, too.

    Args:
        exchange: An open exchange.
        start: The start with its symbols.

    Raises:
        UsageError: the exchange has no such market or timeframe, and nothing else is held.
        ExchangeError: the exchange cannot be reached, or its clock differs.
    """
    markets: list[MarketInfo] = []
    plan = start.plan
    for traded_symbol in plan.symbols:
        try:
            markets.append(await exchange.fetch_market(traded_symbol.key.symbol))
            if _is_held(plan, traded_symbol.key.symbol):
                note_listed(
                    choose_trader_database(plan.settings), plan.account, traded_symbol.key.symbol
                )
        except UsageError as error:
            symbol = traded_symbol.key.symbol
            if _is_held(plan, symbol):
                start = start.leave_out_delisted(symbol, str(error))
            elif start.may_leave_out(symbol):
                start = start.leave_out(symbol, str(error))
            else:
                raise
    exchange.check_timeframe(start.plan.symbols[0].key.timeframe)
    start = await _check_informative_markets(exchange, start)
    traded = {traded_symbol.key.symbol for traded_symbol in start.plan.symbols}
    await exchange.compare_clocks()
    return start, [market for market in markets if market.symbol in traded]


def _is_held(plan: StartPlan, symbol: str) -> bool:
    """Return whether the account has a position or an open order of a symbol."""
    return symbol in plan.held or symbol in plan.open_on_paper


async def _check_informative_markets(exchange: RestExchange, start: Start) -> Start:
    """Return the start without symbols whose strategy reads a market that the exchange lacks.

    A symbol with a position stays, without entries.

    Raises:
        UsageError: the exchange lacks such a market, and nothing else is held.
    """
    for traded_symbol, evaluator in zip(start.plan.symbols, start.evaluators, strict=True):
        symbol = traded_symbol.key.symbol
        fault = await _find_informative_fault(exchange, traded_symbol.key, evaluator)
        if fault is None:
            continue
        if _is_held(start.plan, symbol):
            start = start.forbid_entries(symbol, fault)
        elif start.may_leave_out(symbol):
            start = start.leave_out(symbol, fault)
        else:
            raise UsageError(fault)
    return start


async def _find_informative_fault(
    exchange: RestExchange, key: SeriesKey, evaluator: StrategyEvaluator
) -> str | None:
    """Return a text if the exchange lacks another market that a strategy reads; None: it has all.

    Args:
        exchange: An open exchange.
        key: The traded series.
        evaluator: Evaluator of the strategy that trades the series.
    """
    strategy = evaluator.strategy
    for series in strategy.inputs:
        if not series.is_other_market:
            continue
        try:
            await exchange.fetch_market(series.make_key(key).symbol)
            exchange.check_timeframe(series.timeframe.name)
        except UsageError as error:
            return f"strategy {strategy.name} needs {series.make_label(key)} candles: {error}"
    return None


def check_other_accounts(plan: StartPlan, path: Path, exchange_account: str) -> StartPlan:
    """Refuse a symbol if another account of the database has a position or order in its coin.

    Only accounts that trade the same account at the exchange count: their coins are in one balance,
    so each would sell coins of the other. A start with a position goes on, and makes no entries in
    such a symbol.

    Args:
        plan: Plan of the start.
        path: Database of the trader.
        exchange_account: The exchange's own id of the account of the key.

    Raises:
        SafetyRefusal: the text names the account to go on with.
        StoreError: the file cannot be used.
    """
    if not path.exists():
        return plan
    with open_store(path, create=False) as store:
        reasons = _find_symbols_held_by_others(store, plan, exchange_account)
    if reasons and not plan.held:
        raise SafetyRefusal(next(iter(reasons.values())))
    return structs.replace(plan, exits_only={**reasons, **plan.exits_only})


def _find_symbols_held_by_others(
    store: Store, plan: StartPlan, exchange_account: str
) -> dict[str, str]:
    """Return by symbol a text with the other account that has a position or order in its coin."""
    wanted = [traded_symbol.key.symbol for traded_symbol in plan.symbols]
    reasons: dict[str, str] = {}
    for account_series in read_traded_series(store, "live"):
        base = split_symbol(account_series.symbol)[0]
        # BTC/USDC too: the exchange has one balance of BTC.
        same = [symbol for symbol in wanted if split_symbol(symbol)[0] == base]
        is_other = (
            account_series.name != plan.account
            and account_series.exchange == plan.settings.exchange
        )
        if not same or not is_other or not is_open(store, account_series):
            continue
        account = read_live_account(store, account_series.name)
        if account is not None and account.exchange_account == exchange_account:
            reason = (
                f"account {account_series.name} has an open position or order in "
                f"{account_series.symbol} on the same account of {account_series.exchange}, and "
                f"two accounts in one coin would sell each other's {base}; go on with it: "
                f'--account "{account_series.name}"'
            )
            reasons |= dict.fromkeys(same, reason)
    return reasons
