"""`trader reload`: changes that apply at once, after an open trade, or after a restart."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import ConfigurationError
from onetape.engine import ExitConfig
from onetape.store.controls import NewControl, insert_controls
from session_harness import (
    ACCOUNT,
    KEY,
    OFTEN,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from trader.settings import SymbolSettings, TraderSettings
from trader.settings_reload import find_changed_settings, set_settings_loader

Run = Callable[[Any], Any]
Capture = pytest.CaptureFixture[str]


@dataclass
class PrintedText:
    """All output of the session."""

    capsys: Capture
    text: str = field(default="")

    def has(self, part: str) -> bool:
        self.text += self.capsys.readouterr().out
        return part in self.text


async def reload(
    trading: SessionHarness, printed: PrintedText, *, applies_to_open: bool = False
) -> None:
    row = NewControl(ACCOUNT, "reload", 1, "anna", applies_to_open=applies_to_open)
    insert_controls(trading.store, [row])
    waiting = "SELECT count(*) FROM controls WHERE done_ms IS NULL"
    await trading.until(lambda: trading.query(waiting) == [(0,)])
    await trading.until(lambda: printed.has("reload: "))


async def step(opened: SteppedMarket, trading: SessionHarness, hour: int) -> None:
    await opened.go_to(hour + 0.1)
    await trading.until(lambda: trading.source(hour))
    await trading.until_decided(hour - 1)
    await trading.until_no_open_order("buy")


def read_exit_causes(trading: SessionHarness) -> list[str]:
    return [cause for (cause,) in trading.query("SELECT cause FROM exit_obligations")]


@pytest.fixture
def holds_long(strategy_file: Callable[..., str]) -> str:
    """Return a strategy that buys on each candle and never sells."""
    rule = "np.sign(candles.close - candles.open)"
    source = OFTEN.replace(rule, "-np.ones(len(candles.close))")
    assert source != OFTEN
    return strategy_file(source, "often")


@pytest.mark.parametrize("applies_to_open", [False, True])
def test_changed_exits_wait_for_the_end_of_an_open_trade_unless_they_apply_to_open_trades(
    run: Run, db: Path, holds_long: str, capsys: Capture, applies_to_open: bool
) -> None:
    printed = PrintedText(capsys)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            await step(opened, trading, 1)
            exits = ExitConfig(time_stop_bars=1)
            old = trading.context.settings
            new = replace(old, account=replace(old.account, exits=exits), timeframe="4h")
            with set_settings_loader(lambda: new):
                await reload(trading, printed, applies_to_open=applies_to_open)
            for hour in range(2, 5):
                await step(opened, trading, hour)
            if not applies_to_open:
                assert read_exit_causes(trading) == []
                insert_controls(trading.store, [NewControl(ACCOUNT, "exit", 1, "anna")])
                await trading.until(lambda: printed.has("exits hold from now on"))
            await trading.until(lambda: read_exit_causes(trading))
            expected = "time_stop" if applies_to_open else "command"
            assert read_exit_causes(trading)[0] == expected
            (rules,) = trading.query("SELECT rules FROM sessions")[0]
            assert '"time_stop_bars": 1' in rules

    run(scene())
    assert "reload: exits.time_stop_bars none -> 1" in printed.text
    assert "reload: needs a restart of the trader: timeframe 1h -> 4h" in printed.text
    assert ("keeps its levels" in printed.text) != applies_to_open


def test_a_waiting_change_is_dropped_if_the_file_is_changed_back(
    run: Run, db: Path, holds_long: str, capsys: Capture
) -> None:
    printed = PrintedText(capsys)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            await step(opened, trading, 1)
            old = trading.context.settings
            new = replace(old, account=replace(old.account, exits=ExitConfig(time_stop_bars=1)))
            with set_settings_loader(lambda: new):
                await reload(trading, printed)
            with set_settings_loader(lambda: old):
                await reload(trading, printed)
            insert_controls(trading.store, [NewControl(ACCOUNT, "exit", 1, "anna")])
            await trading.until(lambda: read_exit_causes(trading) == ["command"])
            for hour in range(2, 4):
                await step(opened, trading, hour)
            assert trading.context.settings == old

    run(scene())
    assert "once no position is open" in printed.text
    assert "the settings have not changed" in printed.text
    assert "hold from now on" not in printed.text


def test_a_file_that_cannot_be_read_changes_nothing(
    run: Run, db: Path, holds_long: str, capsys: Capture
) -> None:
    printed = PrintedText(capsys)

    def fail() -> TraderSettings:
        raise ConfigurationError("own.yaml:3: unknown key 'stop'")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            before = trading.context.settings
            with set_settings_loader(fail):
                await reload(trading, printed)
            assert trading.context.settings == before

    run(scene())
    assert "reload: own.yaml:3: unknown key 'stop'; nothing is changed" in printed.text


def test_changed_time_limits_apply_at_once(
    run: Run, db: Path, holds_long: str, capsys: Capture
) -> None:
    printed = PrintedText(capsys)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            with set_settings_loader(
                lambda: replace(trading.context.settings, max_signal_age_seconds=7)
            ):
                await reload(trading, printed)

    run(scene())
    assert "reload: max_signal_age_seconds 60.0 -> 7" in printed.text


def test_each_changed_setting_is_named_with_both_values() -> None:
    old = TraderSettings()
    new = replace(old, ticker_days=1.0, account=replace(old.account, fee_rate=0.002))
    assert find_changed_settings(old, new) == {
        "ticker_days": "ticker_days 7.0 -> 1.0",
        "account.fee_rate": "account.fee_rate 0.001 -> 0.002",
    }


def test_the_changed_symbols_of_the_list_are_named() -> None:
    rsi, macd = StrategySettings(name="rsi"), StrategySettings(name="macd")
    old = [SymbolSettings(symbol="BTC/USDT", strategy=rsi), SymbolSettings(symbol="ETH/USDT")]
    new = [SymbolSettings(symbol="BTC/USDT", strategy=macd), SymbolSettings(symbol="SOL/USDT")]
    text = "symbols (BTC/USDT changed, ETH/USDT removed, SOL/USDT added)"
    assert find_changed_settings(TraderSettings(symbols=old), TraderSettings(symbols=new)) == {
        "symbols": text
    }
    turned = find_changed_settings(TraderSettings(symbols=old), TraderSettings(symbols=old[::-1]))
    assert turned == {"symbols": "symbols (their order changed)"}


def test_each_process_of_an_account_reads_the_settings_again_once(
    run: Run, db: Path, capsys: Capture
) -> None:
    """One process trades BTC/USDT, and another one ETH/USDT, as the rows of one command."""

    async def scene() -> None:
        printed = PrintedText(capsys)
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_live(opened)
            symbols = ("ETH/USDT", KEY.symbol, KEY.symbol)
            rows = [NewControl(ACCOUNT, "reload", 1, "anna", symbol) for symbol in symbols]
            with set_settings_loader(lambda: trading.context.settings):
                insert_controls(trading.store, rows)
                waiting = "SELECT symbol FROM controls WHERE done_ms IS NULL"
                await trading.until(lambda: trading.query(waiting) == [("ETH/USDT",)])
                await trading.until(lambda: printed.has("reload: "))
                give_pause = NewControl(ACCOUNT, "pause", 2, "anna")
                insert_controls(trading.store, [give_pause])
                await trading.until(lambda: printed.has("paused by"))
        assert printed.text.count("reload: the settings have not changed") == 1

    run(scene())
