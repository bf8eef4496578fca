"""A trader whose strategy hangs, or has to evaluate many candles at once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hostile_strategies as hostile
from hostile_strategies import let_others_be_slow, read_noted_processes, write_hostile
from onetape.engine import ExitConfig
from onetape.store.candles import read_last_closed
from onetape.strategies import evaluate_strategy
from session_harness import HOUR, KEY, MARCH, OFTEN, open_market, open_session
from trader.evaluations import Evaluations
from trader.rule_runner import RuleRunner

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

HANGS = f"note_process(); {hostile.ENDLESS}".replace("; ", "\n            ", 1)
TIGHT = ExitConfig(stop_loss=0.0001)


def test_a_stop_sells_while_the_strategy_hangs(run: Run, db: Path, tmp_path: Path) -> None:
    # Sold at the open of the candle after the one whose evaluation hangs.
    time_stop = ExitConfig(time_stop_bars=1)
    name = write_hostile(tmp_path, HANGS, condition=f"candles.timestamp[-1] >= {MARCH}")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=name, exits=time_stop, strategy_timeout_seconds=600
            ) as trading,
        ):
            await trading.until(trading.fills)
            await opened.go_to(1.1)
            await trading.until(lambda: read_noted_processes(tmp_path))
            await trading.until(lambda: len(trading.fills()) == 2)
            assert MARCH not in trading.decided()

    run(scene())


def test_a_candle_that_waits_for_the_strategy_is_not_called_missing(
    run: Run,
    db: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trader.wait_notice.NOTICE_AFTER_SECONDS", 0.3)
    name = write_hostile(tmp_path, HANGS, condition=f"candles.timestamp[-1] >= {MARCH}")
    printed: list[str] = []

    def find_lines() -> list[str]:
        printed.extend(capsys.readouterr().out.splitlines())
        return [line for line in printed if line.startswith("degraded: no decision: ")]

    async def scenario() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, strategy_timeout_seconds=600) as trading,
        ):
            await trading.until_decided(-1)
            await trading.until_live(opened)
            for hour in (1.1, 2.1):
                await opened.go_to(hour)
            await trading.until(find_lines)

    run(scenario())
    (line,) = find_lines()
    assert "is stored, and the strategy has no signals for it yet" in line


def test_the_evaluation_begins_before_the_trader_reads_the_next_candle(
    run: Run, db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_hostile(tmp_path, "note_process()")
    started: list[int] = []
    late: list[int] = []
    start, watch_forming = Evaluations.start, RuleRunner.watch_forming

    def noted_start(self: Evaluations, timestamps: list[int], *, is_repeated: bool) -> None:
        started.extend(timestamps)
        start(self, timestamps, is_repeated=is_repeated)

    def watch_after_strategy(self: RuleRunner, decided: int | None) -> None:
        deadline = time.monotonic() + 60
        while started and not late and not read_noted_processes(tmp_path):
            if time.monotonic() > deadline:
                late.extend(started)
            time.sleep(0.001)
        watch_forming(self, decided)

    monkeypatch.setattr(Evaluations, "start", noted_start)
    monkeypatch.setattr(RuleRunner, "watch_forming", watch_after_strategy)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_decided(-1)
        assert started
        assert not late

    run(scene())


def test_a_candle_without_signals_does_not_let_a_run_of_buys_enter_again(
    run: Run,
    db: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_others_be_slow(monkeypatch, MARCH + HOUR)
    name = write_hostile(tmp_path, HANGS, condition=f"candles.timestamp[-1] == {MARCH + HOUR}")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=name, exits=TIGHT, strategy_timeout_seconds=1.0
            ) as trading,
        ):
            await trading.until(trading.fills)
            for hour in (1, 2, 3):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(hour - 1)
            rows = trading.query(
                "SELECT json_extract(gates, '$.strategy'), json_extract(gates, '$.re-entry'), "
                "signal, action FROM decisions WHERE timestamp >= ? ORDER BY timestamp",
                MARCH + HOUR,
            )
            used = "its run of BUYs has led to the entry of 2024-03-01 00:00 already"
            assert rows == [("strategy late", None, 0, "HOLD"), ("ok", used, 1, "HOLD")]
            assert len(trading.fills()) == 2

    run(scene())
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("degraded: strategy late: no signals within 1 s;") for line in lines)
    assert any("HOLD (strategy late: no order), next 03:00" in line for line in lines)
    assert any(line.startswith("trading again after") for line in lines)


def test_candles_of_an_outage_evaluated_together_give_the_results_of_one_by_one(
    run: Run, db: Path, tmp_path: Path, strategy_file: StrategyFile
) -> None:
    notes = tmp_path / "evaluations"
    counting = f"        with open({str(notes)!r}, 'a') as file:\n            file.write('x')\n"
    source = OFTEN.replace("        rose =", f"{counting}        rose =")
    name = strategy_file(source)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            await trading.until_decided(-1)
            before = len(notes.read_text())
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
            opened.proxy.cut()
            await opened.go_to(12.5)
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
            await trading.until_decided(11)
            assert len(notes.read_text()) - before <= 3
            rows = trading.query(
                "SELECT timestamp, signal, indicators FROM decisions WHERE timestamp >= ?", MARCH
            )
            assert len(rows) == 12
            for timestamp, signal, indicators in rows:
                window = read_last_closed(
                    trading.store, KEY, trading.context.window, up_to=timestamp
                )
                alone = evaluate_strategy(trading.strategy, window)
                assert signal == alone.signal[-1]
                assert json.loads(indicators) == {"change": alone.indicators["change"][-1]}

    run(scene())
