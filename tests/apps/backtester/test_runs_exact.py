"""What a run keeps and prints is what the engine made, to the last bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.document import print_document, trade_values
from backtester.main import backtest_settings
from backtester.rerun import rerun
from backtester.run import backtested
from backtester.runs import load_run
from backtester.trade_rows import TRADE_COLUMNS, TradeRows
from onetape.core.candles import Candles
from onetape.core.digest import data_digest
from own_strategies import LARGER

Run = Callable[..., Any]


def test_equity_is_kept_to_the_last_bit(kept: Callable[..., Path]) -> None:
    rows = np.load(kept() / "equity.npy")
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
def test_rows_of_trades_are_the_engines_trades_to_the_last_bit(
    tape: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    del tape
    monkeypatch.setenv("BACKTESTER__ACCOUNT__FEE_COIN", "received")
    backtest = backtested(backtest_settings(("--exchange", "simulator", *flags), "explain"))
    rows = TradeRows(backtest.result, backtest.signals, backtest.tape.warm_up)
    wanted = [trade_values(backtest, trade) for trade in backtest.result.trades]
    assert (list(rows), len(rows)) == (wanted, len(wanted))
    for start, stop in ((0, 1), (1, 3), (-2, None), (2, 2), (0, 10_000)):
        assert rows[start:stop] == wanted[start:stop]
    assert not wanted or rows[-1] == wanted[-1]
    assert tuple(rows[0] if rows else TRADE_COLUMNS) == TRADE_COLUMNS


def test_many_trades_print_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    trades = [{"number": number, "why": '}\n"{,'} for number in range(4_001)]
    for count in (0, 1, 2_000, 2_001, 4_000, 4_001):
        print_document({"a": {"b": Path("c")}, "trades": trades[:count]})
        assert json.loads(capsys.readouterr().out) == {"a": {"b": "c"}, "trades": trades[:count]}


def test_larger_candles_are_part_of_the_digest_of_the_data(
    kept: Callable[..., Path], candles: Candles
) -> None:
    Path("larger.py").write_text(LARGER)
    run = load_run(kept("--strategy", "larger.py"))
    assert run.manifest["digests"]["data"] != data_digest(candles)
    backtest, changes = rerun(run)
    assert changes == []
    assert list(backtest.higher.candles) == ["1d"]
