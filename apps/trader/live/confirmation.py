"""The confirmation that an account's first entry with real orders needs, once for each account.

A drill of the settings must have passed, and a person must confirm one screen with the amounts that
the account may spend and lose. With a position or an order open the start does not wait for the
confirmation: exits and stops go on, and there are no entries until a person has confirmed.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, structs

from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.clock import format_utc
from onetape.core.errors import SafetyRefusal, UsageError
from onetape.core.folders import choose_database_path
from onetape.core.symbols import SIMULATOR_ID, split_symbol
from onetape.core.trading_rules import format_decimal
from onetape.execution.risk_limits import RiskLimits
from onetape.store.accounts import read_account_series
from onetape.store.database import Store, open_store
from onetape.store.drills import StoredDrill, read_last_drill
from onetape.store.live_accounts import read_live_account
from trader.config_digest import compute_config_digest
from trader.live.first_day import FIRST_DAY_MAX_ORDER, is_dollar
from trader.live.opening import LiveAccess
from trader.live.start_plan import StartPlan, is_open, plan_start
from trader.live.stop_text import format_stop
from trader.settings import TraderSettings


class FirstEntry(Struct, frozen=True):
    """Whether the account's first entry needs a confirmation, and the drill that it rests on."""

    is_open: bool
    """Whether a person has to confirm the first entry at this start."""
    drill_ms: int = 0
    """Time at which the drill of these settings passed, epoch milliseconds; 0: not needed."""
    own_stops: tuple[str, ...] = ()
    """Symbols whose strategy gives a stop, by that drill."""


def plan_whole_start(
    plan: StartPlan, path: Path, *, is_confirmed: bool
) -> tuple[StartPlan, FirstEntry]:
    """Return the plan with the open positions of the database, and the first live entry.

    Args:
        plan: Plan by the settings alone.
        path: Database of the trader.
        is_confirmed: Whether a person has confirmed with --yes.

    Raises:
        SafetyRefusal: the first live entry of the account cannot be confirmed.
        UsageError: the largest order of the first day must be stated.
        StoreError: a file cannot be used.
        OnetapeError: the file of a strategy cannot be used, and nothing is open.
    """
    settings = plan.settings
    if settings.mode != "live":
        return plan_paper_start(plan, path), FirstEntry(is_open=False)
    with ExitStack() as stack:
        # A drill is stored in the database of the real market's candles, which may be another file.
        files = dict.fromkeys((path, choose_database_path(settings.db, settings.exchange)))
        stores = tuple(
            stack.enter_context(open_store(file, create=False)) for file in files if file.exists()
        )
        own = stores[:1] if path.exists() else ()
        if own:
            found = plan_start(own[0], settings, plan.symbols)
            plan = structs.replace(found, strategy_fault=plan.strategy_fault)
        plan = _restrict_to_exits_on_fault(plan)
        return check_first_entry(own, stores, plan, is_confirmed=is_confirmed)


def plan_paper_start(plan: StartPlan, path: Path) -> StartPlan:
    """Return the plan of a start on paper; with a broken strategy and a position: exits only.

    Args:
        plan: Plan by the settings; `strategy_fault` states why a strategy cannot be used.
        path: Database of the trader, which may not exist yet.

    Raises:
        StoreError: the file cannot be used.
        OnetapeError: a strategy cannot be used, and nothing is open.
    """
    fault = plan.strategy_fault
    if path.exists():
        with open_store(path, create=False) as store:
            if fault is not None:
                found = plan_start(store, plan.settings, plan.symbols)
                plan = structs.replace(found, strategy_fault=fault)
            series = read_account_series(store, plan.account)
            held = frozenset(
                account_series.symbol for account_series in series if is_open(store, account_series)
            )
        plan = structs.replace(plan, open_on_paper=held)
    return _restrict_to_exits_on_fault(plan)


def _restrict_to_exits_on_fault(plan: StartPlan) -> StartPlan:
    """Return the plan; without entries if the file of a strategy cannot be used.

    Raises:
        OnetapeError: the file cannot be used, and nothing is open.
    """
    fault = plan.strategy_fault
    if fault is None:
        return plan
    if not plan.held:
        raise fault
    # `params_from` is None only where --params-from names a saved run that cannot be used.
    source = "the file of a strategy" if plan.settings.params_from is not None else "the saved run"
    reason = f"{source} cannot be used ({fault})"
    bans = {traded_symbol.key.symbol: reason for traded_symbol in plan.symbols}
    return structs.replace(plan, exits_only={**plan.exits_only, **bans})


def check_first_entry(
    own: Sequence[Store], stores: Sequence[Store], plan: StartPlan, *, is_confirmed: bool
) -> tuple[StartPlan, FirstEntry]:
    """Check whether the first live entry can be confirmed, before any request to the exchange.

    Args:
        own: The database of the trader; empty: it does not exist yet.
        stores: The databases that may have the drill.
        plan: Plan of the start.
        is_confirmed: Whether a person has confirmed with --yes.

    Returns:
        The plan, whose entries are banned where something is missing and a position or an order
        is open.

    Raises:
        SafetyRefusal: real money without --untested-exchange, no passed drill, or no terminal and
            no --yes.
        UsageError: the largest order of the first day must be stated.
        StoreError: a file cannot be read.
    """
    if plan.settings.mode != "live" or plan.settings.exchange == SIMULATOR_ID:
        return plan, FirstEntry(is_open=False)
    account = next((read_live_account(store, plan.account) for store in own), None)
    if account is not None and account.confirmed_ms is not None:
        return plan, FirstEntry(is_open=False)
    try:
        _check_real_money(plan.settings)
        drill = _check_passed_drill(stores, plan.settings)
        first = FirstEntry(is_open=True, drill_ms=drill.finished_ms, own_stops=drill.own_stops)
        _check_confirmable(plan.settings, is_confirmed=is_confirmed)
    except (SafetyRefusal, UsageError) as error:
        if not plan.held:
            raise
        return _restrict_to_exits(plan, str(error)), FirstEntry(is_open=False)
    if plan.held and not is_confirmed:
        return _restrict_to_exits(plan, "the account's entries were never confirmed"), FirstEntry(
            False
        )
    return plan, first


def _check_real_money(settings: TraderSettings) -> None:
    """Refuse real money while faults are known, unless a person accepts them by a flag."""
    if not settings.sandbox and not settings.untested_exchange:
        raise SafetyRefusal(
            "no order was ever sent with real money by this program, and docs/live.md lists faults "
            "that are not fixed yet; use --sandbox or --exchange simulator, or add "
            "--untested-exchange if you want it all the same"
        )


async def confirm_first_entry(
    plan: StartPlan, access: LiveAccess, first: FirstEntry, stop: StopRequest, *, is_confirmed: bool
) -> bool:
    """Print the screen of the confirmation, wait for a person's yes, and return whether it came.

    Args:
        plan: Plan of the start.
        access: The account at the exchange.
        first: The first entry, with the time of its drill.
        stop: Ends the wait when the program is to stop; False is returned then.
        is_confirmed: Whether a person has confirmed with --yes.

    Raises:
        SafetyRefusal: the answer was not yes.
    """
    for line in format_confirmation_lines(plan, access, first):
        print_line(line)
    if is_confirmed:
        print_line("confirmed by --yes")
        return True
    print_line("type yes to let it trade; anything else ends it:")
    answer = await stop.run_unless_stopped(_read_line())
    if answer is None:
        return False
    if answer.strip().lower() != "yes":
        raise SafetyRefusal("not confirmed; nothing was sent, and the account is as it was")
    return True


def format_confirmation_lines(plan: StartPlan, access: LiveAccess, first: FirstEntry) -> list[str]:
    """Return the lines of the screen that a person confirms: the most to be spent and lost.

    Args:
        plan: Plan of the start.
        access: The account at the exchange, with its free money.
        first: The first entry, with the time of its drill.
    """
    settings, endpoint = plan.settings, access.client.endpoint
    quote = split_symbol(plan.symbols[0].key.symbol)[1]
    free = access.compute_free_money(quote)
    network = "the test network of " if endpoint.is_sandbox else ""
    symbols = [traded_symbol.key.symbol for traded_symbol in plan.symbols]
    traded = ", ".join(
        f"{traded_symbol.key.symbol} by {traded_symbol.strategy.name}"
        for traded_symbol in plan.symbols
    )
    spent = free if settings.cash is None else settings.cash
    rows = (
        ("account", f"{access.exchange_account} of {network}{endpoint.exchange}"),
        ("trades", f"{traded}, {plan.symbols[0].key.timeframe} candles"),
        (
            "may spend",
            f"{_format_money(spent)} {quote} of {_format_money(free)} {quote} that are free",
        ),
        ("largest order", _format_largest_order(settings.risk, quote)),
        ("open positions", f"at most {settings.risk.max_positions}"),
        ("stop", format_stop(settings.account.exits, symbols, first.own_stops)),
        ("daily loss", _format_daily_loss(settings.risk, spent, quote)),
        ("drill", f"passed {format_utc(first.drill_ms // 1_000)} UTC"),
    )
    width = max(len(name) for name, _ in rows)
    title = "the first orders of this account with real money; all of it can be lost"
    if endpoint.is_sandbox:
        title = "the first orders of this account, with the play money of a test network"
    return [title, *(f"  {name:{width}}  {text}" for name, text in rows)]


def _check_passed_drill(stores: Sequence[Store], settings: TraderSettings) -> StoredDrill:
    """Return the last drill of these settings, which has passed.

    Raises:
        SafetyRefusal: none did.
    """
    digest = compute_config_digest(settings)
    found = [drill for store in stores if (drill := read_last_drill(store, digest)) is not None]
    newest = max(found, key=lambda drill: drill.finished_ms, default=None)
    if newest is None:
        raise SafetyRefusal(
            "these settings have passed no drill: run `uv run trader drill` with them (same "
            "--config and flags), then start again; docs/live.md lists its parts"
        )
    if not newest.is_passed:
        raise SafetyRefusal(
            f"the last drill of these settings, {format_utc(newest.finished_ms // 1_000)} UTC, did "
            "not pass: run `uv run trader drill` again, and start once it passes"
        )
    return newest


def _check_confirmable(settings: TraderSettings, *, is_confirmed: bool) -> None:
    """Refuse a start that no person can confirm, or whose largest order has no effect.

    Raises:
        SafetyRefusal: there is no terminal and no --yes.
        UsageError: the largest order of the first day must be stated.
    """
    symbol = settings.symbols[0].symbol if settings.symbols else settings.symbol.split(",")[0]
    quote = split_symbol(symbol)[1]
    if settings.risk.max_order is None and not is_dollar(quote):
        raise UsageError(
            f"the first day needs --max-order: the default of {FIRST_DAY_MAX_ORDER} is meant for "
            f"dollars and euros, not for {quote}",
            setting="risk.max_order",
        )
    if not is_confirmed and not sys.stdin.isatty():
        raise SafetyRefusal(
            "an account's first entry has to be confirmed, and there is no terminal to do it in: "
            "start it in one, or add --yes once you have read docs/live.md on it"
        )


def _restrict_to_exits(plan: StartPlan, reason: str) -> StartPlan:
    bans = {traded_symbol.key.symbol: reason for traded_symbol in plan.symbols}
    return structs.replace(plan, exits_only={**bans, **plan.exits_only})


def _format_largest_order(limits: RiskLimits, quote: str) -> str:
    if limits.max_order is not None:
        return f"{_format_money(limits.max_order)} {quote}"
    return (
        f"{FIRST_DAY_MAX_ORDER} {quote} in the first 24 hours, then no limit (--max-order sets one)"
    )


def _format_daily_loss(limits: RiskLimits, money: Decimal, quote: str) -> str:
    lost = money * Decimal(repr(limits.max_daily_loss))
    return (
        f"after {_format_money(lost.quantize(Decimal('0.01')))} {quote} "
        f"({100 * limits.max_daily_loss:.4g} %) no entries until a person clears it"
    )


def _format_money(amount: Decimal) -> str:
    whole, _, decimals = format_decimal(amount).partition(".")
    return f"{int(whole):,}" + (f".{decimals}" if decimals else "")


async def _read_line() -> str:
    """Return the next line of the terminal; cancelling the task ends the wait."""
    loop = asyncio.get_running_loop()
    read: asyncio.Future[str] = loop.create_future()

    def take() -> None:
        if not read.done():
            read.set_result(sys.stdin.readline())

    descriptor = sys.stdin.fileno()
    loop.add_reader(descriptor, take)
    try:
        return await read
    finally:
        loop.remove_reader(descriptor)
