"""Seeded report data for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.core.candles import Candles
from onetape.report import (
    ExitKind,
    Headline,
    MetricRow,
    OtherMarket,
    ReportData,
    ReportTitle,
    ReportTrade,
    write_report,
)

Json = dict[str, Any]


def make_candles(count: int, step_seconds: int = 3_600, price: float = 40_000.0) -> Candles:
    """Return a random walk in whole cents of a price of 40,000, from 2023-01-01 on."""
    random = np.random.default_rng(7)
    close = np.round(price * np.exp(np.cumsum(random.normal(0, 0.005, count))), 2)
    open_ = np.roll(close, 1)
    open_[:1] = price
    spread = np.round(np.abs(random.normal(0, 0.002, count)) * close, 2)
    return Candles(
        timestamp=1_672_531_200 + np.arange(count, dtype=np.int64) * step_seconds,
        open=open_,
        high=np.maximum(open_, close) + spread,
        low=np.minimum(open_, close) - spread,
        close=close,
        volume=np.round(random.uniform(1, 900, count), 5),
    )


def make_trades(candles: Candles, every: int, held: int) -> tuple[ReportTrade, ...]:
    """Return a trade at a fixed interval of candles; the last one is open at the end."""
    last = len(candles) - 1
    trades: list[ReportTrade] = []
    for entry in range(every, last, every):
        leave = min(entry + held, last)
        bought, sold = float(candles.open[entry]), float(candles.open[leave])
        trades.append(
            ReportTrade(
                entry_timestamp=int(candles.timestamp[entry]),
                exit_timestamp=int(candles.timestamp[leave]),
                entry_price=bought,
                exit_price=sold,
                amount=0.1,
                profit_quote=(sold - bought) * 0.1,
                profit_ratio=sold / bought - 1,
                fee_quote=(sold + bought) * 0.0001,
                open_at_end=leave == last,
                entry_reason="RSI under 30",
                exit_reason="RSI over 70",
            )
        )
    return tuple(trades)


def make_report(candles: Candles, *, every: int = 200, held: int = 40, **title: Any) -> ReportData:
    """Return a report on these candles: an overlay, RSI with levels, MACD's three in one pane."""
    count = len(candles)
    swing = np.sin(np.arange(count) / 30.0)
    warm = np.where(np.arange(count) < min(20, count), np.nan, candles.close)
    names: Json = {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframe": "1h",
        "strategy": "RSI",
        "parameters": {"period": "14"},
        "rules": {"cash": "10,000 USDT", "fee": "0.1 %"},
    }
    stamps = candles.timestamp
    return ReportData(
        title=ReportTitle(
            start_timestamp=int(stamps[0]) if count else 0,
            end_timestamp=int(stamps[-1]) if count else 0,
            generated_at_ms=1_700_000_000_000,
            **(names | title),
        ),
        headline=Headline(0.1234, 0.401, 312.4, 0.18),
        candles=candles,
        equity=candles.close / 4.0,
        buy_and_hold=candles.close / 4.0 + 100.0,
        metrics=(MetricRow("Sharpe ratio", "0.61", "0.97", "Mean over deviation."),),
        trades=make_trades(candles, every, held),
        indicators={
            "SMA": warm,
            "RSI": 50 + 30 * swing,
            "MACD": swing,
            "MACD signal": swing * 0.8,
            "MACD histogram": swing * 0.2,
        },
        overlays=("SMA",),
        levels={"RSI": (30.0, 70.0)},
    )


def make_shared(
    candles: int = 2_000, *, price: float = 2_000.0, later: int = 0, every: int = 300
) -> ReportData:
    """Return a report of BTC/USDT and ETH/USDT on one account, trades of the two in turn.

    Args:
        candles: Of the first market.
        price: At which the second market begins.
        later: How many candles later the second market begins.
        every: Candles from one trade to the next.
    """
    data = make_report(make_candles(candles), every=every)
    whole = make_report(make_candles(candles, price=price), every=every)
    columns = whole.candles
    other = OtherMarket(
        symbol="ETH/USDT",
        candles=columns[later:],
        equity=data.equity[later:],
        buy_and_hold=data.buy_and_hold[later:],
        indicators={name: column[later:] for name, column in whole.indicators.items()},
        overlays=whole.overlays,
        levels=whole.levels,
    )
    trades = tuple(
        replace(both[index % 2], symbol=("BTC/USDT", "ETH/USDT")[index % 2])
        for index, both in enumerate(zip(data.trades, whole.trades, strict=True))
    )
    return replace(data, trades=trades, others=(other,))


def add_levels(data: ReportData) -> ReportData:
    """Return the report with a stop that trails, a target, and an exit of each kind in turn."""
    kinds: tuple[ExitKind, ...] = (
        *("signal", "stop_loss", "trailing_stop", "target", "time_stop"),
    )
    trades = tuple(
        replace(
            trade,
            exit_kind=kinds[index % len(kinds)],
            stop=(
                (trade.entry_timestamp, trade.entry_price * 0.97),
                (trade.entry_timestamp + 10 * 3_600, trade.entry_price * 0.98),
            ),
            target=((trade.entry_timestamp, trade.entry_price * 1.05),),
        )
        for index, trade in enumerate(data.trades)
    )
    return replace(data, trades=trades)


@pytest.fixture
def leveled() -> Callable[[ReportData], ReportData]:
    """Return `with_levels`."""
    return add_levels


@pytest.fixture
def open_report(open_page: Callable[..., BrowserTab], tmp_path: Path) -> Callable[..., BrowserTab]:
    """Return a function that writes a report and opens it in a tab of the given size."""

    def opened(data: ReportData, width: int = 1280, height: int = 900) -> BrowserTab:
        return open_page(write_report(data, tmp_path / "report.html"), width, height)

    return opened


@pytest.fixture
def report() -> Callable[..., ReportData]:
    """Return the maker of report data: `report(candles=500, step_seconds=3600, ...)`."""

    def made(
        candles: int = 500, step_seconds: int = 3_600, price: float = 40_000.0, **more: Any
    ) -> ReportData:
        return make_report(make_candles(candles, step_seconds, price), **more)

    return made


@pytest.fixture
def shared_report() -> Callable[..., ReportData]:
    """Return `make_shared`."""
    return make_shared
