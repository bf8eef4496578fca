"""An optimization sizes its entries in both parts as a backtest of the part does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.clock import format_utc

Run = Callable[..., Any]
FAR = "account: {sizing: volatility_target, volatility_target: 0.2, volatility_bars: 400}\n"


@pytest.mark.parametrize("part", ["in_sample", "out_of_sample"])
def test_a_sizing_with_a_long_lookback_works_from_the_start_of_each_part(
    optimize: Run, backtest_json: Run, folder: Path, part: str
) -> None:
    (folder / "far.yaml").write_text(FAR)
    flags = ("--config", "far.yaml", "--strategy", "sma_cross")
    found = optimize(*flags, "--param", "fast=5,10", "--from", "2024-02-01")
    ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
    for result in found["results"]:
        value = f"--param=fast={result['parameters']['fast']}"
        alone = backtest_json(*flags, value, "--from", ends[0], "--to", ends[1]).document
        assert alone["warm_up"] == 401
        assert alone["metrics"] == result[part]
        assert result[part]["refused_orders"] == 0
