"""`trader drill`: what it finds, what it refuses, and what it stores."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from onetape.cli.common_settings import StrategySettings
from onetape.core.strategy_levels import LevelColumns
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig, ExitConfig
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.database import open_store
from onetape.store.drills import read_last_drill
from traded_accounts import CommandResult
from trader.config_digest import compute_config_digest
from trader.drill.runner import PartResult, make_drill, make_drill_settings, run_drill
from trader.drill.scenarios import SCENARIOS
from trader.drill.schedule import make_schedule, make_searched_range
from trader.drill.strategy_levels import make_entry_levels
from trader.drill.trader_process import COMMAND
from trader.settings import TraderSettings

Run = Callable[..., CommandResult]
#: A trader that sends an order without storing that first.
UNSAFE = """
import sys

from onetape.execution.events import Submitted
from trader.live.book import LiveBook
from trader.main import run

store = LiveBook.record


def record(self, one, events, now_ms, **options):
    if not any(isinstance(event, Submitted) for event in events):
        store(self, one, events, now_ms, **options)


LiveBook.record = record
run()
"""
SETTINGS = TraderSettings(account=AccountConfig(exits=ExitConfig(stop_loss=0.05)))
#: Never buys; the stop is 3 % below the close, on the candles of every second hour alone.
OWN_STOP = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class OwnStop(Strategy):
    name: ClassVar[str] = "own_stop"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        is_even = candles.timestamp // 3_600 % 2 == 0
        stop = np.where(is_even, candles.close * 0.97, np.nan)
        return Signals(np.zeros(len(stop), np.int8), {}, stop=stop)
"""


def run_drill_part(name: str, *program: str) -> PartResult:
    """Return the result of a part of the drill for a trader started by a command."""
    parts = [one for one in SCENARIOS if one.name == name]
    (found,) = run_drill(make_drill(SETTINGS, program), parts, 1, lambda result: None)
    return found


def test_a_kill_after_the_send_passes_only_with_a_stored_intent(
    folder: Path,
) -> None:
    (folder / "unsafe.py").write_text(UNSAFE, encoding="utf-8")
    found: dict[str, PartResult] = {}

    def play(name: str, *program: str) -> None:
        found[name] = run_drill_part("killed after the send", *program)

    unsafe = Thread(target=play, args=("unsafe", COMMAND[0], str(folder / "unsafe.py")))
    unsafe.start()
    play("ours", *COMMAND)
    unsafe.join()
    assert found["ours"].is_passed, found["ours"]
    assert "1 bought, 0 doubled, ledgers equal" in found["ours"].observed
    assert not found["unsafe"].is_passed
    assert "sent without a stored intent: order " in found["unsafe"].observed
    assert list(folder.iterdir()) == [folder / "unsafe.py"]


def test_a_drill_is_stored_and_its_exit_code_is_that_of_its_result(
    folder: Path, trader: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [
        PartResult("stop refused", "BTC/USDT", True, "stop on the exchange", 1.0, 0.0),
        PartResult("disk full", "BTC/USDT", False, "no stop", 1.0, 0.0, ("the last line",)),
    ]

    def known(*_: object) -> list[PartResult]:
        return results

    monkeypatch.setattr("trader.drill.runner.run_drill", known)
    flags = ("--exchange", "simulator", "--stop-loss", "0.05")
    shown = trader("drill", *flags)
    assert shown.code == 6
    assert "disk full     NOT PASSED: no stop" in shown.out
    assert "trader: the last line" in shown.out
    results.pop()
    assert trader("drill", *flags, "--json").code == 0
    assert trader("drill", *flags, "--only", "refused").out.endswith("leaves parts out\n")
    with open_store(folder / "data" / "simulator.db", create=False) as store:
        stored = read_last_drill(store, compute_config_digest(SETTINGS))
        with store.read() as connection:
            drills = connection.execute("SELECT is_passed FROM drills ORDER BY id").fetchall()
    assert stored is not None
    assert stored.results == {"stop refused, BTC/USDT": "stop on the exchange"}
    assert drills == [(0,), (1,)]


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        ((), 2, "a drill needs a stop that rests on the exchange"),
        (("--break-even", "0.02"), 2, "strategy rsi gives none for BTC/USDT"),
        (("--trailing-stop", "0.05", "--trailing-offset", "0.02"), 2, "from the entry on"),
        (("--take-profit", "0.05"), 2, "--stop-loss 0.05"),
        (("--stop-loss", "0.05", "--strategy", "rsy"), 2, "did you mean 'rsi'?"),
        (("--stop-loss", "0.05", "--only", "earthquake"), 2, "there are: entry, stop and exit, "),
        (("--stop-loss", "0.05", "--strategy", "x.py:Y"), 2, "x.py"),
        (("--stop-loss", "0.05", "--trading-days", "weekdays"), 2, "must be days or ranges"),
        (("--config", "none.yaml"), 3, "none.yaml does not exist"),
    ],
)
def test_an_impossible_drill_prints_one_line_and_stores_nothing(
    folder: Path, trader: Run, flags: tuple[str, ...], code: int, text: str
) -> None:
    refused = trader("drill", *flags)
    assert (refused.code, refused.err.count("\n"), refused.out) == (code, 1, "")
    assert text in refused.err
    assert list(folder.iterdir()) == []


def test_a_drill_ignores_trading_hours_entry_guards_and_volume_limit() -> None:
    counts = "trade_limit=1,lookback_period_candles=9,stop_duration_candles=99"
    account = AccountConfig(
        exits=ExitConfig(stop_loss=0.05),
        trading_days="sun",
        trading_timezone="Asia/Tokyo",
        stoploss_guard=counts,
        drawdown_pause=f"{counts},max_allowed_drawdown=0",
        low_profit_pairs=f"{counts},required_profit=1",
        max_volume_share=0.01,
    )
    settings = TraderSettings(account=account, max_signal_age_seconds=7)
    drilled = make_drill_settings(settings, "BTC/USDT", "http://127.0.0.1:1")
    assert drilled.account == AccountConfig(exits=ExitConfig(stop_loss=0.05))
    assert drilled.max_signal_age_seconds == 7


@pytest.mark.parametrize("exits", [ExitConfig(stop_loss=0.01), ExitConfig(trailing_stop=0.02)])
@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_positions_of_a_drill_reach_no_stop_by_themselves(
    timeframe: str, exits: ExitConfig
) -> None:
    schedule = make_schedule("BTC/USDT", Timeframe.parse(timeframe), exits, cooldown_bars=2)
    (first, second), (sell, last) = schedule.buys, schedule.sells
    step = Timeframe.parse(timeframe).seconds
    assert (sell - first, second - sell, last - second) == (step, 5 * step, step)


def own_stop_settings(folder: Path) -> TraderSettings:
    """Return settings without a stop, with a strategy that gives one."""
    file = folder / "own_stop.py"
    file.write_text(OWN_STOP, encoding="utf-8")
    return TraderSettings(strategy=StrategySettings(name=f"{file}:OwnStop"))


def test_a_drill_runs_a_strategy_with_its_own_stop_on_the_exchange(folder: Path) -> None:
    drill = make_drill(own_stop_settings(folder), COMMAND)
    assert drill.own_stops == {"BTC/USDT"}
    (found,) = run_drill(drill, SCENARIOS[:1], 1, lambda result: None)
    assert found.is_passed, found
    assert "stop on the exchange" in found.observed


def test_a_recorded_drill_names_the_symbols_whose_strategy_gives_a_stop(
    folder: Path, trader: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(*_: object) -> list[PartResult]:
        return [PartResult("stop refused", "BTC/USDT", True, "seen", 1.0, 0.0)]

    monkeypatch.setattr("trader.drill.runner.run_drill", known)
    settings = own_stop_settings(folder)
    flags = ("--exchange", "simulator", "--strategy", settings.strategy.name)
    assert trader("drill", *flags).code == 0
    with open_store(folder / "data" / "simulator.db", create=False) as store:
        stored = read_last_drill(store, compute_config_digest(settings))
    assert stored is not None
    assert stored.own_stops == ("BTC/USDT",)


def test_a_buy_of_a_drill_has_a_stop_below_its_close_and_no_target_under_it() -> None:
    close = np.array([100.0, 200.0, 100.0, 100.0])
    levels = LevelColumns(
        stop=np.array([np.nan, 180.0, np.nan, 100.0]),
        target=np.array([110.0, np.nan, 100.0, 90.0]),
        stop_mode="each_candle",
    )
    found = make_entry_levels(levels, close)
    assert found.stop is not None
    assert found.target is not None
    assert found.stop.tolist() == pytest.approx([95.0, 180.0, 90.0, 90.0])
    assert np.array_equal(found.target, [110.0, np.nan, np.nan, np.nan], equal_nan=True)
    assert (found.stop_mode, found.target_mode) == ("each_candle", "at_entry")


def test_positions_of_a_drill_reach_no_stop_of_the_strategy_by_themselves() -> None:
    timeframe = Timeframe.parse("1h")
    searched = make_searched_range(timeframe, cooldown_bars=0)
    candles = SimulatedMarket(DEFAULT_SEED).get_candles(
        "BTC/USDT", "1h", searched.first, searched.end
    )
    levels = LevelColumns(stop=candles.close * 0.995, target=candles.close * 1.01)
    schedule = make_schedule("BTC/USDT", timeframe, ExitConfig(), 0, levels)
    for bought in schedule.buys:
        row = int(np.searchsorted(candles.timestamp, bought))
        assert candles.low[row + 1] > candles.close[row] * 0.995
        assert candles.high[row + 1] < candles.close[row] * 1.01
