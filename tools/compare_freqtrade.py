"""Comparison of the backtester with freqtrade on freqtrade strategy files, for docs/freqtrade.md.

    uv run python tools/compare_freqtrade.py PYTHON STRATEGIES CANDLES [--write]

PYTHON is an interpreter that has freqtrade, STRATEGIES a folder of strategy files, and CANDLES the
folder of the recorded candles. Both trade the same candles of BTC/USDT from the first one on: a fee
of 0.1 %, one position at a time, no rounding. Without --write the table is printed.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from freqtrade_exit_prices import LISTED, Exit, Settings, find_price_cause
from onetape.strategies.freqtrade.source import FreqtradeClass, parse_freqtrade_classes

PAGE: Final = Path("docs/freqtrade.md")
BEGIN, END = "<!-- comparison with freqtrade -->", "<!-- end of the comparison -->"
SYMBOL: Final = "BTC/USDT"


class Recorded(NamedTuple):
    """Recorded candles of one timeframe, without a gap in the range."""

    file: str
    start: str
    end: str
    resampled: str = ""
    """Timeframe that is built from these candles; empty: the timeframe of the file."""


_HOURS: Final = "binance_BTC-USDT_1h_20170817_20240421.csv.gz"
SERIES: Final[Mapping[str, Recorded]] = {
    "1m": Recorded("binance_BTC-USDT_1m_20250520_20250818.csv.gz", "2025-07-10", "2025-08-18"),
    "5m": Recorded("binance_BTC-USDT_5m_20250520_20250818.csv.gz", "2025-05-20", "2025-08-19"),
    "15m": Recorded("binance_BTC-USDT_15m_20250520_20250818.csv.gz", "2025-05-20", "2025-08-19"),
    "1h": Recorded(_HOURS, "2021-10-01", "2023-03-24"),
    "4h": Recorded(_HOURS, "2021-10-01", "2023-03-24", "4h"),
    "1d": Recorded("binance_BTC-USDT_1d_20170817_20260105.csv.gz", "2017-08-17", "2026-01-06"),
}
_SUMS: Final = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
FEE: Final = 0.001


class Row(NamedTuple):
    """The comparison of one strategy: a row of the table."""

    strategy: str
    """Name of the strategy."""
    timeframe: str
    trades: int
    """Number of freqtrade's trades, one that is open at the end included."""
    same: int
    """Number of freqtrade's trades that the backtester enters and leaves in the same candles."""
    backtester_trades: int
    """Number of the backtester's trades."""
    prices: str
    """Number of trades left in the same candle at another price, with the cause, as text."""
    refused: str
    """Error with which the backtester refuses the strategy; empty: not refused."""


def write_candles(source: Path, folder: Path) -> None:
    """Write the candles of each timeframe as CSV, for both programs."""
    for timeframe, one in SERIES.items():
        frame = pd.read_csv(source / one.file)
        moments = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
        chosen = (moments >= pd.Timestamp(one.start, tz="UTC")) & (
            moments < pd.Timestamp(one.end, tz="UTC")
        )
        frame = frame[chosen].set_index(moments[chosen].rename("moment"))
        if one.resampled:
            frame = frame.resample(one.resampled).agg({"timestamp": "first", **_SUMS})
        frame.to_csv(folder / f"BTC_USDT-{timeframe}.csv", index=False)


def read_candles(folder: Path, timeframe: str) -> dict[int, dict[str, float]]:
    """Return the candles of a timeframe by the open of each, epoch seconds."""
    frame = pd.read_csv(folder / f"BTC_USDT-{timeframe}.csv").set_index("timestamp")
    found: Any = frame.to_dict("index")
    return found


def find_strategies(folder: Path) -> list[tuple[str, Path]]:
    """Return name and file of each freqtrade strategy, by name."""
    found = [
        (name, file)
        for file in sorted(folder.glob("*.py"))
        for name in parse_freqtrade_classes(file, file.read_bytes())
    ]
    return sorted(found)


def run_freqtrade(
    python: str, files: Sequence[tuple[str, Path]], folder: Path
) -> Iterator[dict[str, Any]]:
    """Yield freqtrade's trades of each strategy."""
    jobs = [
        json.dumps({"strategy": name, "path": str(file.parent.resolve()), "pair": SYMBOL})
        for name, file in files
    ]
    script = Path(__file__).with_name("freqtrade_trades.py")
    done = subprocess.run(
        [python, "-W", "ignore", str(script), str(folder)],
        input="\n".join(jobs),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{python} ended with {done.returncode}: {done.stderr[-500:]}")
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def run_backtester(file: Path, theirs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the backtester's result on the same candles; `error` in it has a refusal."""
    command = [
        "uv",
        "run",
        "backtester",
        "-s",
        f"{file}:{theirs['strategy']}",
        "--json",
        "--no-check",
    ]
    command += ["--db", str(folder / f"{theirs['timeframe']}.db"), "--trading-rules", "none"]
    command += ["--fee", str(FEE), "--slippage", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # The message follows the file's name and line.
        return {"error": done.stderr.strip().partition(f"{file.name}, ")[2] or done.stderr.strip()}
    return json.loads(done.stdout)


def make_row(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], file: Path, candles: Mapping[int, Any]
) -> Row:
    """Return the comparison of two results.

    Args:
        theirs: Result of freqtrade.
        ours: Result of the backtester.
        file: File of the strategy.
        candles: Candles of the strategy's timeframe by the open of each.
    """
    name, timeframe = theirs["strategy"], theirs.get("timeframe", "")
    if "error" in theirs or "error" in ours:
        return Row(name, timeframe, 0, 0, 0, "", str(theirs.get("error") or ours["error"]))
    settings = _read_exit_settings(parse_freqtrade_classes(file, file.read_bytes())[name])
    own = {(trade["entry_timestamp"], trade["exit_timestamp"]): trade for trade in ours["trades"]}
    same, prices = 0, dict[str, int]()
    for one in theirs["trades"]:
        is_open = one["reason"] == "force_exit"
        trade = own.get((one["opened"], None if is_open else one["closed"]))
        same += trade is not None
        if trade is None:
            continue
        cause = _find_price_cause(one, trade, candles, settings, is_open=is_open)
        if cause:
            prices[cause] = prices.get(cause, 0) + 1
    texts = [f"{count:,}: {cause}" for cause, count in sorted(prices.items())]
    return Row(name, timeframe, len(theirs["trades"]), same, len(own), "; ".join(texts), "")


def _read_exit_settings(found: FreqtradeClass) -> Settings:
    """Return the settings of exits in the text of a strategy."""
    roi = found.read_value("minimal_roi", {})
    is_trailing = found.read_value("trailing_stop", default=False)
    distance = found.read_value("trailing_stop_positive", None) or found.read_value("stoploss", 0.0)
    return Settings(
        roi={int(minutes): float(ratio) for minutes, ratio in roi.items()},
        trailing_stop=abs(distance) if is_trailing else 0.0,
        trailing_offset=found.read_value("trailing_stop_positive_offset", 0.0) or 0.0,
        fee=FEE,
    )


def _find_price_cause(
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    candles: Mapping[int, Any],
    settings: Settings,
    *,
    is_open: bool,
) -> str:
    """Return the reason why the prices of a trade differ; empty where they do not."""
    if abs(ours["entry_price"] / theirs["entry"] - 1) > LISTED:
        return "unexplained (entry)"
    if is_open:
        return ""
    candle = candles[theirs["closed"]]
    one = Exit(
        entry=theirs["entry"],
        minutes=(theirs["closed"] - theirs["opened"]) // 60,
        open=candle["open"],
        high=candle["high"],
        low=candle["low"],
        freqtrade_price=theirs["left"],
        freqtrade_reason=theirs["reason"],
        freqtrade_stop=theirs["stop"],
        freqtrade_highest=theirs["highest"],
        backtester_price=ours["exit_price"],
        backtester_kind=ours["exit_kind"],
    )
    return find_price_cause(one, settings)


def format_table(rows: Sequence[Row]) -> str:
    """Return the table, and a line that sums it up."""
    equal = [
        row for row in rows if not row.refused and row.same == row.trades == row.backtester_trades
    ]
    trading = [row for row in equal if row.trades]
    lines = [
        f"{len(equal)} of {len(rows)} strategies enter and leave in the same candles as with "
        f"freqtrade 2026.9, {len(trading)} of them with trades "
        f"({sum(row.trades for row in trading):,} in all).",
        "",
        "| strategy | candles | trades | in the same candles | left there at another price |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        found = f"{row.trades:,} | {row.same:,} | {row.prices or '-'}"
        if row.refused:
            found = f"refused | - | {row.refused}"
        lines.append(f"| {row.strategy} | {row.timeframe} | {found} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, and print or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", help="interpreter that has freqtrade")
    parser.add_argument("strategies", type=Path, help="folder of strategy files")
    parser.add_argument("candles", type=Path, help="folder of recorded candles")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    given = parser.parse_args()
    files = find_strategies(given.strategies)
    paths = dict(files)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_candles(given.candles, folder)
        for timeframe in SERIES:
            command = (
                f"uv run backfiller import {folder}/BTC_USDT-{timeframe}.csv --exchange binance"
            )
            command += f" --symbol {SYMBOL} --timeframe {timeframe} --db {folder}/{timeframe}.db"
            subprocess.run(shlex.split(command), check=True, capture_output=True)
        candles = {name: read_candles(folder, name) for name in SERIES}
        rows = [
            make_row(
                one,
                {} if "error" in one else run_backtester(paths[one["strategy"]], one, folder),
                paths[one["strategy"]],
                candles.get(one.get("timeframe", ""), {}),
            )
            for one in run_freqtrade(given.python, files, folder)
        ]
    text = format_table(rows)
    if not given.write:
        print(text)
        return
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    print(f"{PAGE} written")


if __name__ == "__main__":
    main()
