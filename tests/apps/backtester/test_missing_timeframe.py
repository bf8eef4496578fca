"""A timeframe that is not stored is built from a lower stored one, or fetched."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfiller.main import app as backfiller
from onetape.cli.program import run_typer_app

Run = Callable[..., Any]


def test_the_printed_resample_command_runs_and_then_the_backtest_runs(
    backtest_json: Run, folder: Path, database: Path
) -> None:
    elsewhere = database.rename(folder / "my candles.db")
    four_hours = ("--timeframe", "4h", "--db", str(elsewhere))
    ended = backtest_json(*four_hours)
    assert ended.code == 4
    assert "holds no closed candle of simulator BTC/USDT 4h; run: uv run backfiller" in ended.err
    (command,) = re.findall(r"from the stored 1h candles: uv run backfiller (.*?)\)", ended.err)
    assert run_typer_app(backfiller, "backfiller", shlex.split(command)) == 0
    assert backtest_json(*four_hours).code == 0


@pytest.mark.parametrize("flags", [("--timeframe", "30m"), ("--symbol", "ETH/USDT", "-t", "4h")])
def test_a_timeframe_that_no_stored_candles_can_build_is_only_offered_to_be_fetched(
    backtest_json: Run, flags: tuple[str, ...]
) -> None:
    ended = backtest_json(*flags)
    assert ended.code == 4
    assert "holds no closed candle" in ended.err
    assert "resample" not in ended.err
