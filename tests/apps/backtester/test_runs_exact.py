"""Saved and printed values of a run equal the engine's, to the last bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import convert
from msgspec.structs import asdict, replace

from backtester.flags import load_backtest_from_flags
from backtester.rendering.result import convert_to_builtins, print_document
from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.records import TradeRecord
from onetape.backtest.storage.rerun import rerun
from onetape.backtest.storage.runs import load_run
from onetape.backtest.trade_records import TradeRows, describe_entry_reason, describe_exit_reason
from onetape.core.candles import Candles
from onetape.core.digest import compute_data_digest
from strategy_sources import HIGHER_TIMEFRAME_STRATEGY

Run = Callable[..., Any]


def test_saved_equity_is_exact_to_the_last_bit(save_run: Callable[..., Path]) -> None:
    rows = np.load(save_run() / "equity.npy")
    assert rows.dtype.names == ("timestamp", "equity", "buy_and_hold")
    assert (np.diff(rows["timestamp"]) == 3_600).all()


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--stop-loss", "0.02", "--take-profit", "0.03", "--slippage", "3"),
        ("--param", "buy=1", "--param", "sell=99"),
        ("--to", "2024-02-17"),
    ],
)
def test_saved_trades_equal_the_engines_to_the_last_bit(
    database: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    del database
    monkeypatch.setenv("BACKTESTER__ACCOUNT__FEE_CURRENCY", "base")
    run = run_backtest(
        load_backtest_from_flags(("--exchange", "simulator", *flags), "explain").config
    ).first
    rows = TradeRows(run.result, run.signals, run.window.warm_up)
    wanted = [
        convert(
            asdict(trade)
            | {
                "entry_reason": describe_entry_reason(run, trade),
                "exit_reason": describe_exit_reason(run, trade),
            },
            TradeRecord,
        )
        for trade in run.result.trades
    ]
    assert (list(rows), len(rows)) == (wanted, len(wanted))
    for start, stop in ((0, 1), (1, 3), (-2, None), (2, 2), (0, 10_000)):
        assert rows[start:stop] == wanted[start:stop]
    assert not wanted or rows[-1] == wanted[-1]


def test_many_trades_print_as_one_document(
    save_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_run(save_run())
    one = replace(run.read_trade_records()[0], entry_reason='}\n"{,')
    trades = [replace(one, entry_index=number) for number in range(4_001)]
    capsys.readouterr()
    for count in (0, 1, 2_000, 2_001, 4_000, 4_001):
        print_document(run.summary, trades[:count])
        printed = json.loads(capsys.readouterr().out)
        assert printed.pop("trades") == [convert_to_builtins(trade) for trade in trades[:count]]
        assert printed == convert_to_builtins(run.summary)


def test_candles_of_higher_timeframes_are_part_of_the_data_digest(
    save_run: Callable[..., Path], candles: Candles
) -> None:
    Path("higher.py").write_text(HIGHER_TIMEFRAME_STRATEGY)
    run = load_run(save_run("--strategy", "higher.py"))
    assert run.manifest.digests["data"] != compute_data_digest(candles)
    backtest, changes = rerun(run)
    assert changes == []
    assert list(backtest.first.higher.candles) == ["1d"]
