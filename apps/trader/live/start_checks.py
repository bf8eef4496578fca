"""Reasons to refuse a start; with an open position, the symbols that the start leaves out.

With a position or an order open, a start is not refused because of a symbol without one: that
symbol is left out, and the others make no entries until a person has corrected the cause. A start
is not refused either because of a position in a market that is not listed any more: nothing can be
sold there, so that symbol is named and left out, and the others go on.
"""

import time
from pathlib import Path

from msgspec import Struct, structs

from onetape.cli.output import print_line
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.core.symbols import split_symbol
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.store.account_reading import read_traded_series
from onetape.store.accounts import read_account_series
from onetape.store.database import Store, open_store
from onetape.store.live_accounts import read_live_account
from onetape.store.sessions import read_newest_session
from trader.account import check_account
from trader.delisted import forget_answered, note_delisted, note_listed
from trader.evaluator.evaluator import StrategyEvaluator
from trader.live.start_plan import StartPlan, format_unattended_lines, is_open
from trader.settings import choose_trader_database
from trader.strategy_origin import check_origin


class Start(Struct, frozen=True):
    """Symbols that a start trades, with the evaluator of each."""

    plan: StartPlan
    evaluators: tuple[StrategyEvaluator, ...]
    """Evaluators of strategies, in the order of the plan's symbols."""

    def leave_out(self, symbol: str, reason: str) -> "Start":
        """Return the start without a symbol that has no position; the others make no entries.

        Args:
            symbol: The symbol.
            reason: Reason why the symbol is left out.
        """
        start = self._copy_without(symbol)
        plan = start.plan
        found = f"{symbol} is left out: {reason}"
        bans = {
            name: f"{plan.exits_only[name]}; {found}" if name in plan.exits_only else found
            for name in (one.key.symbol for one in plan.symbols)
        }
        plan = structs.replace(plan, exits_only={**plan.exits_only, **bans})
        return Start(plan, start.evaluators)

    def leave_out_delisted(self, symbol: str, reason: str) -> "Start":
        """Return the start without a symbol whose position cannot be sold; the others go on.

        The position stays in the ledger, with its money and its slot among the open trades.

        Args:
            symbol: The symbol.
            reason: The exchange does not list it, in words.

        Raises:
            UsageError: no other symbol is left to be traded.
        """
        settings, account = self.plan.settings, self.plan.account
        note_delisted(choose_trader_database(settings), account, symbol, reason)
        answered = forget_answered(choose_trader_database(settings), account, symbol)
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
        left = [(one, evaluator) for one, evaluator in pairs if one.key.symbol != symbol]
        plan = structs.replace(
            plan,
            settings=structs.replace(plan.settings, account_name=plan.account),
            symbols=tuple(one for one, _ in left),
        )
        return Start(plan, tuple(evaluator for _, evaluator in left))

    def may_leave_out(self, symbol: str) -> bool:
        """Return whether a symbol has no position while another symbol has one.

        A position at another exchange does not count: this start cannot sell it.
        """
        plan = self.plan
        exchanges = {one.key.exchange for one in plan.held.values()}
        return exchanges == {plan.settings.exchange} and symbol not in plan.held


def check_accounts(store: Store, start: Start) -> Start:
    """Compare the symbols of a start with the stored account; return the start that is traded.

    Args:
        store: The database of the trader.
        start: The start with its symbols.

    Raises:
        SafetyRefusal: the account was opened for something else.
        StoreError: the file cannot be read.
    """
    plan, stored = start.plan, read_account_series(store, start.plan.account)
    for one, evaluator in zip(plan.symbols, start.evaluators, strict=True):
        symbol = one.key.symbol
        name = plan.stand_ins.get(symbol, evaluator.strategy.name)
        try:
            check_account(stored, plan.settings, one.key, name)
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
    """Return the traded symbols with their markets, after checks of timeframes and clock.

    Args:
        exchange: Open.
        start: The start with its symbols.

    Raises:
        UsageError: the exchange has no such market or timeframe, and nothing else is held.
        ExchangeError: the exchange cannot be reached, or its clock differs.
    """
    markets: list[MarketInfo] = []
    plan = start.plan

    def is_held(symbol: str) -> bool:
        return symbol in plan.held or symbol in plan.open_on_paper

    for one in plan.symbols:
        try:
            markets.append(await exchange.fetch_market(one.key.symbol))
            if is_held(one.key.symbol):
                note_listed(choose_trader_database(plan.settings), plan.account, one.key.symbol)
        except UsageError as error:
            symbol = one.key.symbol
            if is_held(symbol):
                start = start.leave_out_delisted(symbol, str(error))
            elif start.may_leave_out(symbol):
                start = start.leave_out(symbol, str(error))
            else:
                raise
    exchange.check_timeframe(start.plan.symbols[0].key.timeframe)
    await exchange.compare_clocks()
    return start, markets


def check_other_accounts(plan: StartPlan, path: Path, exchange_account: str) -> StartPlan:
    """Refuse a symbol in whose coin another account of the same account at the exchange is open.

    Two accounts in one coin of one account at the exchange have their coins in one balance. A start
    with a position goes on, and makes no entries in such a symbol.

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
    wanted = [one.key.symbol for one in plan.symbols]
    reasons: dict[str, str] = {}
    for one in read_traded_series(store, "live"):
        base = split_symbol(one.symbol)[0]
        # BTC/USDC too: the exchange has one balance of BTC.
        same = [symbol for symbol in wanted if split_symbol(symbol)[0] == base]
        is_other = one.name != plan.account and one.exchange == plan.settings.exchange
        if not same or not is_other or not is_open(store, one):
            continue
        account = read_live_account(store, one.name)
        if account is not None and account.exchange_account == exchange_account:
            reason = (
                f"account {one.name} has an open position or order in {one.symbol} on the same "
                f"account of {one.exchange}, and two accounts in one coin would sell each "
                f'other\'s {base}; go on with it: --account "{one.name}"'
            )
            reasons |= dict.fromkeys(same, reason)
    return reasons
