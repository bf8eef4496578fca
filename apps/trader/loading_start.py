"""A start whose strategies take long to load: meanwhile, stops and exits are watched without them.

With a position or an order open, sessions without entries run until the strategies are loaded, or
until their time limit; then sessions with the strategies take their place. With nothing open, the
start waits, and prints that it does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from onetape.cli.output import print_line
from onetape.store.database import open_store
from trader.evaluator.process_evaluator import LOAD_SECONDS
from trader.evaluator.stand_in import StandInEvaluator
from trader.live.start_checks import Start
from trader.live.start_plan import StartPlan, plan_start
from trader.live.stored_exits import add_stored_exits
from trader.locked_start import read_once_unlocked
from trader.start_strategies import make_stand_in
from trader.strategy_origin import find_strategy_origin, get_stored_file
from trader.traded_symbols import TradedSymbol

#: Time after which a start with a position or an order open goes on without its strategies, and
#: any other start prints that it waits, wall seconds.
NOTICE_SECONDS: Final = 5.0


def make_loading_start(plan: StartPlan, path: Path) -> Start | None:
    """Return the start of sessions that only exit, while the strategies are being loaded.

    Args:
        plan: Plan of the start, whose strategies are being loaded.
        path: Database of the trader.

    Returns:
        The start with the symbols that have a position or an order open; None: none has.

    Raises:
        StoreError: the file cannot be read.
    """
    if not plan.open_series:
        return None
    if not plan.held:
        # On paper, the positions are read only where a strategy cannot be used.
        found = read_once_unlocked(lambda: _plan_stored(plan, path))
        plan = structs.replace(found, open_on_paper=plan.open_on_paper)
    if not plan.held:
        return None
    symbols = tuple(one for one in plan.symbols if one.key.symbol in plan.held)
    reason = f"{_format_names(symbols)} is still being loaded"
    loading = structs.replace(
        plan,
        # A symbol that is left out shall not change the name of the account.
        settings=structs.replace(plan.settings, account_name=plan.account),
        symbols=symbols,
        exits_only={one.key.symbol: reason for one in symbols},
        is_loading=True,
        stand_ins={symbol: held.strategy.name for symbol, held in plan.held.items()},
    )
    if not all(_is_same_strategy(plan, one) for one in symbols):
        loading = add_stored_exits(loading)
    return Start(loading, _make_stand_ins(plan, symbols))


def print_wait(symbols: Sequence[TradedSymbol], *, is_open: bool) -> None:
    """Print that strategies take long to load.

    Args:
        symbols: Symbols of the start.
        is_open: Whether a position or an order is open, so that exits are watched meanwhile.
    """
    text = (
        f"{_format_names(symbols)} is still being loaded after {NOTICE_SECONDS:.0f} s, "
        f"and may take {LOAD_SECONDS:.0f} s"
    )
    if is_open:
        print_line(
            f"{text}; a position or order is open: stops and exits are watched from now on, "
            "without entries",
            level="WARNING",
            event="state",
        )
        return
    print_line(f"{text}; trading begins after that", level="WARNING", event="state")


def _plan_stored(plan: StartPlan, path: Path) -> StartPlan:
    with open_store(path, create=False) as store:
        return plan_start(store, plan.settings, plan.symbols)


def _make_stand_ins(
    plan: StartPlan, symbols: Sequence[TradedSymbol]
) -> tuple[StandInEvaluator, ...]:
    return tuple(
        make_stand_in(plan.held[one.key.symbol], plan.sessions.get(one.key.symbol), is_loading=True)
        for one in symbols
    )


def _is_same_strategy(plan: StartPlan, one: TradedSymbol) -> bool:
    """Return whether the settings name the file whose strategy has entered the position."""
    file = get_stored_file(plan.sessions.get(one.key.symbol))
    return bool(file) and find_strategy_origin(one.strategy.name).startswith(file)


def _format_names(symbols: Sequence[TradedSymbol]) -> str:
    names = list(dict.fromkeys(one.strategy.name for one in symbols))
    return f"{'strategy' if len(names) == 1 else 'one of the strategies'} {', '.join(names)}"
