"""Paper with the keys of a real account in the environment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from session_harness import open_market, open_session
from trader.live.keys import load_start_credentials
from trader.live.start_plan import StartPlan
from trader.live.times import LiveTimes
from trader.settings import TraderSettings
from trader.traded_symbols import parse_traded_symbols

Run = Callable[[Any], Any]
#: BUY on every candle.
ALWAYS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Always(Strategy):
    name: ClassVar[str] = "always"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles), dtype=np.int8), {})
"""


def test_row_73_a_start_on_paper_reads_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETAPE_API_KEY", "simulator")
    monkeypatch.setenv("ONETAPE_API_SECRET", "simulator")
    settings = TraderSettings(exchange="simulator")
    symbols = tuple(parse_traded_symbols(settings))
    assert load_start_credentials(StartPlan(settings, symbols)) is None
    live = structs.replace(settings, mode="live")
    assert load_start_credentials(StartPlan(live, symbols)) is not None


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_row_73_paper_trading_sends_no_signed_request_whatever_keys_are_set(
    run: Run,
    db: Path,
    strategy_file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """The same run with real orders shows that signed requests would be seen."""
    monkeypatch.setenv("ONETAPE_API_KEY", "simulator")
    monkeypatch.setenv("ONETAPE_API_SECRET", "simulator")
    name = strategy_file(ALWAYS, "always")
    live = LiveTimes() if mode == "live" else None

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, live=live) as trading,
        ):
            await trading.until(trading.fills)
            assert [trade.mode for trade in trading.fills()] == [mode]
            signed = opened.proxy.signed_paths
            assert ("/api/v3/order" in signed) is (mode == "live")
            assert bool(signed) is (mode == "live")

    run(scene())
