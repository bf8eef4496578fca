"""Runs the parts of a drill, several at a time, each with its own simulator, trader and files.

A part plays one scenario, such as "killed after the send", with one symbol of the settings.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Final, cast

import yaml
from msgspec import Struct
from msgspec.structs import replace

from onetape.cli.common_settings import StrategySettings
from onetape.core.clock import SteppedClock
from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import build_settings_tree
from onetape.core.symbols import SIMULATOR_ID, split_symbol
from onetape.core.timeframes import Timeframe
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.symbols import SYMBOLS
from onetape.simulator.server.error_replies import Refusal
from onetape.strategies import load_strategy
from trader.account import get_configured_balance
from trader.drill.forced_signals import make_strategy_source
from trader.drill.scenarios import SCENARIOS, Scenario
from trader.drill.scene import Scene, SceneFailed
from trader.drill.schedule import Schedule, make_schedule, make_searched_range
from trader.drill.strategy_levels import evaluate_levels
from trader.monitoring.settings import MonitoringSettings
from trader.settings import TraderSettings
from trader.traded_symbols import TradedSymbol, parse_traded_symbols

#: Market of the simulator that is used for symbols that the simulator lacks.
OTHER_SYMBOL: Final = "BTC/USDT"
#: Maximum `stale_after_seconds` of a drill, wall seconds; a longer setting is replaced by it.
MAX_STALE_SECONDS: Final = 10.0
#: Number of entries that the account's money and coins suffice for, so that extra ones succeed.
_FUNDED_ENTRIES: Final = 10
#: Number of the trader's last lines that are shown of a part that did not pass.
_SHOWN_LINES: Final = 4
#: Numbers of the simulated accounts of this process.
_ACCOUNT_NUMBERS: Final = count(1)


class PartResult(Struct, frozen=True):
    """Result of one part of a drill."""

    name: str
    """Name of the scenario."""
    symbol: str
    """Symbol of the settings that the part was played with."""
    is_passed: bool
    observed: str
    """What was observed, as a text; a failure comes first."""
    seconds: float
    """Duration of the part, wall seconds."""
    unprotected_seconds: float
    """Time that coins were held without a stop at the exchange, wall seconds."""
    last_lines: tuple[str, ...] = ()
    """Last output lines of the trader, if the part did not pass."""


class Drill(Struct, frozen=True):
    """What the parts of a drill have in common."""

    settings: TraderSettings
    symbols: Sequence[TradedSymbol]
    """Symbols of the settings with their strategies."""
    schedules: Mapping[str, Schedule]
    """Candles of the signals, by symbol of the settings."""
    program: Sequence[str]
    """Command line that starts the trader, without its flags."""
    own_stops: frozenset[str] = frozenset()
    """Symbols of the settings whose strategy gives a stop."""


def make_drill(settings: TraderSettings, program: Sequence[str]) -> Drill:
    """Return the drill of these settings.

    Args:
        settings: Settings of the trader.
        program: Command line of the trader.

    Raises:
        UsageError: a symbol or timeframe that cannot be read, a strategy that does not exist, or
            neither the settings nor the strategy of a symbol give a stop.
        ConfigurationError: a strategy cannot be loaded, or fails.
    """
    symbols = parse_traded_symbols(settings)
    strategies = [
        load_strategy(one.strategy.name, one.strategy.parameters, USER_FOLDER) for one in symbols
    ]
    timeframe = Timeframe.parse(settings.timeframe)
    exits, cooldown = settings.account.exits, settings.account.cooldown_bars
    searched = make_searched_range(timeframe, cooldown)
    schedules: dict[str, Schedule] = {}
    own_stops: set[str] = set()
    for traded, strategy in zip(symbols, strategies, strict=True):
        symbol, name = traded.key.symbol, choose_simulated_symbol(traded.key.symbol)
        levels = evaluate_levels(strategy, name, searched)
        has_own_stop = levels is not None and levels.stop is not None
        if not has_own_stop and exits.first_stop is None:
            raise _make_stop_error(strategy.name, symbol)
        if has_own_stop:
            own_stops.add(symbol)
        schedules[symbol] = make_schedule(name, timeframe, exits, cooldown, levels)
    return Drill(settings, symbols, schedules, program, frozenset(own_stops))


def _make_stop_error(strategy: str, symbol: str) -> UsageError:
    return UsageError(
        "a drill needs a stop that rests on the exchange from the entry on, and strategy "
        f"{strategy} gives none for {symbol}: set exits.stop_loss or exits.trailing_stop in the "
        "file, or give --stop-loss 0.05 (5 % under the entry)",
        setting="exits.stop_loss",
    )


def choose_simulated_symbol(symbol: str) -> str:
    """Return the simulator's market of a symbol, or `OTHER_SYMBOL` if it has none."""
    return symbol if symbol in {one.name for one in SYMBOLS} else OTHER_SYMBOL


def run_drill(
    drill: Drill, scenarios: Sequence[Scenario], at_once: int, report: Callable[[PartResult], None]
) -> list[PartResult]:
    """Run the parts of a drill, and return their results in the order of the parts.

    Args:
        drill: The drill.
        scenarios: Scenario of each part; the symbols take turns, and the first scenario of all is
            played with each symbol.
        at_once: Maximum number of parts that run at a time.
        report: Called with the result of each part that is over, in any thread.
    """
    jobs = list(zip(scenarios, cycle(drill.symbols), strict=False))
    first = scenarios[:1]
    jobs += [(one, symbol) for one in first if one is SCENARIOS[0] for symbol in drill.symbols[1:]]

    stop = Event()

    def run(job: tuple[Scenario, TradedSymbol]) -> PartResult:
        found = _run_part(drill, *job, stop)
        report(found)
        return found

    with ThreadPoolExecutor(at_once) as pool:
        try:
            return list(pool.map(run, jobs))
        except BaseException:
            # Such as Ctrl-C: parts that run end at once, and others do not begin.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_part(drill: Drill, scenario: Scenario, traded: TradedSymbol, stop: Event) -> PartResult:
    """Play one scenario with one symbol, with a new simulator, folder and trader."""
    began = time.monotonic()
    symbol, schedule = (
        choose_simulated_symbol(traded.key.symbol),
        drill.schedules[traded.key.symbol],
    )
    with (
        TemporaryDirectory(prefix="onetape-drill-") as name,
        embedded_simulator(
            clock=SteppedClock(schedule.start_ms, pace=1.0),
            balance=_compute_balance(drill.settings, symbol),
            # The trader locks the account: each part of the drill has its own account.
            account_id=1_000 * os.getpid() + next(_ACCOUNT_NUMBERS),
        ) as simulator,
    ):
        folder = Path(name)
        _write_files(folder, drill, traded, symbol, simulator.url)
        scene = Scene(simulator, schedule, folder, drill.program, symbol, stop)
        fault = _play_scenario(scene, scenario)
    return PartResult(
        scenario.name,
        traded.key.symbol,
        not fault,
        "; ".join(([fault] if fault else []) + scene.observations),
        round(time.monotonic() - began, 1),
        round(scene.unprotected_seconds, 1),
        tuple(scene.trader.lines[-_SHOWN_LINES:]) if fault else (),
    )


def _play_scenario(scene: Scene, scenario: Scenario) -> str:
    """Play a scenario to its end; return the reason why it did not pass, or an empty text."""
    try:
        scene.wait_until_started()
        scenario.play(scene)
        scene.finish()
    except (SceneFailed, OnetapeError, Refusal) as error:
        return str(error) or type(error).__name__
    finally:
        scene.close()
    return ""


def _compute_balance(settings: TraderSettings, symbol: str) -> dict[str, Decimal]:
    """Return the balances of the account by currency, enough for unexpected orders too."""
    money, (base, quote) = get_configured_balance(settings), split_symbol(symbol)
    market = next(one for one in SYMBOLS if one.name == symbol)
    coins = money / Decimal(repr(market.anchor))
    return {
        quote: money * _FUNDED_ENTRIES,
        base: round(coins * _FUNDED_ENTRIES, market.amount_digits),
    }


def _write_files(folder: Path, drill: Drill, traded: TradedSymbol, symbol: str, url: str) -> None:
    """Write settings file and strategy file of the trader of one part."""
    strategies = folder / USER_FOLDER / "strategies"
    strategies.mkdir(parents=True)
    text = make_strategy_source(
        traded.strategy.name,
        traded.strategy.parameters,
        USER_FOLDER,
        drill.schedules[traded.key.symbol],
    )
    (strategies / "drilled.py").write_text(text, encoding="utf-8")
    settings = make_drill_settings(drill.settings, symbol, url)
    tree = _convert_for_yaml(build_settings_tree(settings))
    (folder / "trader.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def make_drill_settings(settings: TraderSettings, symbol: str, url: str) -> TraderSettings:
    """Return the settings of a drill's trader: those of the user, with orders on the simulator.

    Args:
        settings: Settings of the user.
        symbol: Market of the simulator to trade.
        url: Address of the simulator.
    """
    return replace(
        settings,
        mode="live",
        symbol=symbol,
        symbols=[],
        exchange=SIMULATOR_ID,
        strategy=StrategySettings(name="drilled"),
        # The drill enters at the times of its schedule, on a market whose volumes are different.
        account=replace(
            settings.account,
            trading_hours=None,
            trading_days=None,
            trading_timezone="UTC",
            stoploss_guard=None,
            drawdown_pause=None,
            low_profit_pairs=None,
            max_volume_share=None,
        ),
        account_name=None,
        cash=get_configured_balance(settings),
        stale_after_seconds=min(settings.stale_after_seconds, MAX_STALE_SECONDS),
        monitoring=MonitoringSettings(),
        db=Path("drill.db"),
        simulator_url=url,
    )


def _convert_for_yaml(value: Any) -> Any:
    """Return values as builtin types that YAML can hold."""
    if isinstance(value, Mapping):
        tree = cast("Mapping[Any, Any]", value)
        return {key: _convert_for_yaml(one) for key, one in tree.items()}
    if isinstance(value, list | tuple):
        return [_convert_for_yaml(one) for one in cast("Sequence[Any]", value)]
    return str(value) if isinstance(value, Decimal | Path) else value
