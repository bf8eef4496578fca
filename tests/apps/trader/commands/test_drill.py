"""`trader drill`: what it finds, what it refuses, and what it stores."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig, ExitConfig
from onetape.store.database import open_store
from onetape.store.drills import read_last_drill
from traded_accounts import Ended
from trader.config_digest import compute_config_digest
from trader.drill.runner import PartResult, make_drill, make_drill_settings, run_drill
from trader.drill.scenarios import SCENARIOS
from trader.drill.schedule import make_schedule
from trader.drill.trader_process import COMMAND
from trader.settings import TraderSettings

Run = Callable[..., Ended]
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


def played(name: str, *program: str) -> PartResult:
    """Return what a part of the drill shows of a trader that is started so."""
    parts = [one for one in SCENARIOS if one.name == name]
    (found,) = run_drill(make_drill(SETTINGS, program), parts, 1, lambda result: None)
    return found


def test_a_kill_after_the_send_passes_and_without_a_stored_intent_it_does_not(
    folder: Path,
) -> None:
    (folder / "unsafe.py").write_text(UNSAFE, encoding="utf-8")
    found: dict[str, PartResult] = {}

    def play(name: str, *program: str) -> None:
        found[name] = played("killed after the send", *program)

    unsafe = Thread(target=play, args=("unsafe", COMMAND[0], str(folder / "unsafe.py")))
    unsafe.start()
    play("ours", *COMMAND)
    unsafe.join()
    assert found["ours"].is_passed, found["ours"]
    assert "1 bought, 0 doubled, ledgers equal" in found["ours"].observed
    assert not found["unsafe"].is_passed
    assert "sent without a stored intent: order " in found["unsafe"].observed
    assert list(folder.iterdir()) == [folder / "unsafe.py"]


def test_a_drill_is_recorded_and_its_exit_code_is_that_of_its_result(
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
        (("--take-profit", "0.05"), 2, "--stop-loss 0.05"),
        (("--stop-loss", "0.05", "--strategy", "rsy"), 2, "did you mean 'rsi'?"),
        (("--stop-loss", "0.05", "--only", "earthquake"), 2, "there are: entry, stop and exit, "),
        (("--stop-loss", "0.05", "--strategy", "x.py:Y"), 2, "x.py"),
        (("--stop-loss", "0.05", "--trading-days", "weekdays"), 2, "must be days or ranges"),
        (("--config", "none.yaml"), 3, "none.yaml does not exist"),
    ],
)
def test_what_cannot_be_tried_is_one_line_and_nothing_is_written(
    folder: Path, trader: Run, flags: tuple[str, ...], code: int, text: str
) -> None:
    refused = trader("drill", *flags)
    assert (refused.code, refused.err.count("\n"), refused.out) == (code, 1, "")
    assert text in refused.err
    assert list(folder.iterdir()) == []


def test_a_drill_enters_outside_trading_hours_and_without_guards_and_volume_limit() -> None:
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
