"""Output of `backtester costs`: a table for a terminal, and a document for `--json`."""

from typing import Any

from msgspec.structs import asdict

from backtester.measured_costs import SPREAD_KEY, MeasuredCosts
from onetape.backtest.spreads import format_bps
from onetape.cli.tables import Column, fit_table
from onetape.core.clock import format_utc
from onetape.core.digits import format_number

#: Formula of the spread of one ticker.
_FORMULA = "(ask - bid) / mid price x 10,000"


def format_costs(measured: MeasuredCosts) -> list[str]:
    """Return measured spreads as lines for the terminal."""
    config, spreads = measured.config, measured.spreads
    columns = [
        Column("symbol", [one.symbol for one in spreads]),
        Column("tickers", [f"{one.tickers:,}" for one in spreads], right=True),
        Column("left out", [f"{one.left_out:,}" for one in spreads], (), right=True),
        Column("first (UTC)", [format_utc(one.first_ms // 1_000) for one in spreads], ()),
        Column("last (UTC)", [format_utc(one.last_ms // 1_000) for one in spreads], ()),
        Column("median", [format_bps(one.median_bps) for one in spreads], right=True),
        Column(
            "90th percentile", [format_bps(one.percentile_90_bps) for one in spreads], right=True
        ),
        Column("half of median", [format_bps(one.median_bps / 2) for one in spreads], right=True),
    ]
    return [
        f"spread on {config.exchange} in bps, {_FORMULA}, from the tickers in {config.database}",
        fit_table(columns),
        *_format_setting_lines(measured),
    ]


def _format_setting_lines(measured: MeasuredCosts) -> list[str]:
    """Return lines on the setting of the measured spread, and whether it was written."""
    account, value = measured.config.account, measured.spread_bps
    which = "the largest median" if len(measured.spreads) > 1 else "the median"
    half = format_number(measured.half_spread_bps)
    paid = (
        f"with spread_bps {value} a market order pays {half} bps "
        f"of the price (spread_bps / 2), plus slippage_bps {format_bps(account.slippage_bps)}, "
        "which is not measured"
    )
    if measured.charged_bps is None:
        return [
            paid,
            f"{SPREAD_KEY} is {format_bps(account.spread_bps)}; --write sets it to {value}, "
            f"{which}, in {measured.file}",
        ]
    copy = "" if measured.base is None else f", a new copy of {measured.base} but for this value"
    return [paid, f"{SPREAD_KEY} is now {value}, {which}, in {measured.file}{copy}"]


def make_costs_document(measured: MeasuredCosts) -> dict[str, Any]:
    """Return measured spreads for --json; spreads are in basis points of the mid price."""
    config = measured.config
    is_written = measured.charged_bps is not None
    return {
        "database": config.database,
        "exchange": config.exchange,
        "symbols": [
            {**asdict(one), "half_spread_bps": one.median_bps / 2} for one in measured.spreads
        ],
        "setting": SPREAD_KEY,
        "spread_bps": float(measured.spread_bps),
        "half_spread_bps": measured.half_spread_bps,
        "slippage_bps": config.account.slippage_bps,
        "before": config.account.spread_bps,
        "written": measured.file if is_written else None,
    }
