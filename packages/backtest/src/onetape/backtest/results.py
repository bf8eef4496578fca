"""The result of a backtest for notebooks: pandas tables, charts, explanations, saving."""

import tempfile
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec.structs import replace

from onetape.backtest.assumptions import join_run_checks
from onetape.backtest.config import BacktestConfig
from onetape.backtest.explain import CandleExplanation, explain
from onetape.backtest.models import Backtest, SymbolRun
from onetape.backtest.python_times import convert_moment
from onetape.backtest.records import BiasCheck, RunSummary
from onetape.backtest.report_data import write_backtest_report
from onetape.backtest.run_costs import format_returns
from onetape.backtest.storage.digests import compute_digests
from onetape.backtest.storage.save import save_run
from onetape.backtest.summary import summarize
from onetape.backtest.trade_frame import make_trade_frame
from onetape.backtest.trade_records import make_trade_records
from onetape.core.candles import IntArray
from onetape.core.clock import format_day
from onetape.core.message_text import format_count

if TYPE_CHECKING:
    import pandas as pd

#: Seconds of a day.
_DAY: Final = 86_400
#: Pixels of the report in a notebook.
_PLOT_HEIGHT: Final = 820


class BacktestResult:
    """Result of one backtest; tables are pandas objects, made when they are used."""

    def __init__(self, backtest: Backtest, note: str = "") -> None:
        """Take a finished backtest.

        Args:
            backtest: The backtest.
            note: Note shown in the representation of the result; empty: none.
        """
        self._backtest = backtest
        self._note = note

    def __repr__(self) -> str:
        """Return strategy, series, return and trades in a few lines."""
        summary, metrics = self.summary, self.summary.metrics
        series = f"{summary.exchange} {', '.join(summary.all_symbols)} {summary.timeframe}"
        lines = [
            f"{summary.strategy} on {series}, {format_day(summary.from_)} to "
            f"{format_day(summary.to)} UTC, {format_count(summary.candles, 'candle')}",
            f"return {self._format_return()}, max drawdown {metrics.max_drawdown:.2%}, "
            f"{format_count(metrics.trades, 'trade')}",
            f"bias check: {summary.check.text}",
        ]
        return "\n".join([*lines, *([self._note] if self._note else [])])

    def _format_return(self) -> str:
        """Return the total return as text, with that of the same run without costs."""
        summary, total = self.summary, self.summary.metrics.total_return
        if summary.return_without_costs is None:
            return f"{total:+.2%}"
        return format_returns(total, summary.return_without_costs, summary.costs)

    @cached_property
    def summary(self) -> RunSummary:
        """Summary of the run, as `backtester --json` prints it, without the trades."""
        return summarize(self._backtest)

    @property
    def config(self) -> BacktestConfig:
        """Configuration of the run."""
        return self._backtest.config

    @property
    def check(self) -> BiasCheck:
        """Result of the bias check."""
        return join_run_checks(self._backtest)

    @cached_property
    def digest(self) -> dict[str, str]:
        """SHA-256 digests of the candles, the strategy's code and the engine's code."""
        return compute_digests(self._backtest)

    @cached_property
    def stats(self) -> "pd.Series[Any]":
        """Metrics under their names in `--json`; docs/metrics.md defines them."""
        import pandas as pd

        values = self.summary.metrics.as_dict()
        values.pop("buy_and_hold")
        return pd.Series(values, dtype=object, name=self.summary.strategy)

    @cached_property
    def trades(self) -> "pd.DataFrame":
        """Round trips, one row each, with UTC times of entry and exit."""
        return make_trade_frame(make_trade_records(self._backtest), self.summary.symbol)

    @cached_property
    def fills(self) -> "pd.DataFrame":
        """Executed orders, one row each, indexed by the open of the candle that filled them."""
        import pandas as pd

        rows = [
            {
                "time": int(run.result.candles.timestamp[max(bar, 0)]),
                "symbol": run.symbol,
                "side": fill.side,
                "price": fill.price,
                "amount": fill.amount,
                "cost": fill.notional,
                "fee": fill.fee_quote,
                "slippage": fill.slippage_quote,
            }
            for run in self._backtest.runs
            for bar, fill in zip(run.result.indices, run.result.fills, strict=True)
        ]
        columns = ["time", "symbol", "side", "price", "amount", "cost", "fee", "slippage"]
        frame: Any = pd.DataFrame(rows, columns=columns)
        frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
        return frame.set_index("time").sort_index(kind="stable")

    @cached_property
    def equity(self) -> "pd.Series[float]":
        """Equity of the account at each close, quote currency, by the open of the candle."""
        import pandas as pd

        return pd.Series(self._backtest.equity, self._index, name="equity")

    @cached_property
    def returns(self) -> "pd.Series[float]":
        """Daily returns, by UTC day, as quantstats takes them."""
        import pandas as pd

        equity = self._backtest.equity
        days = self._backtest.timestamp // _DAY
        last = np.append(np.flatnonzero(days[1:] != days[:-1]), len(days) - 1)
        path = np.concatenate(([self._backtest.metrics.start_cash], equity[last]))
        index: Any = pd.to_datetime(days[last] * _DAY, unit="s", utc=True)
        return pd.Series(np.diff(path) / path[:-1], index, name="returns")

    @cached_property
    def position(self) -> "pd.DataFrame":
        """Base currency held at each close, one column per symbol."""
        import pandas as pd

        columns = {
            run.symbol: _compute_position(run, self._backtest.timestamp) for run in self._runs
        }
        return pd.DataFrame(columns, self._index)

    @cached_property
    def frame(self) -> "pd.DataFrame | dict[str, pd.DataFrame]":
        """Candles of the range with indicators and signals; of several symbols, a dict."""
        frames = {run.symbol: _make_candle_frame(run) for run in self._runs}
        return frames if len(frames) > 1 else next(iter(frames.values()))

    @cached_property
    def drawdowns(self) -> "pd.DataFrame":
        """Drawdowns, the deepest first: start, bottom, end (NaT: not regained), depth, duration."""
        import pandas as pd

        frame: Any = pd.DataFrame(
            _find_drawdowns(self._backtest), columns=["start", "bottom", "end", "depth"]
        )
        for name in ("start", "bottom", "end"):
            frame[name] = pd.to_datetime(frame[name].astype("float64"), unit="s", utc=True)
        last: Any = self._index[-1] if len(self._index) else pd.NaT
        frame["duration"] = frame["end"].fillna(last) - frame["start"]
        return frame.sort_values("depth", ignore_index=True)

    @cached_property
    def benchmark(self) -> "pd.Series[float]":
        """Value of buying and holding all symbols, or the benchmark's, at each close."""
        import pandas as pd

        return pd.Series(self._backtest.buy_and_hold(), self._index, name="benchmark")

    @property
    def costs(self) -> "pd.Series[float]":
        """Fees and slippage of all fills, quote currency."""
        import pandas as pd

        metrics = self._backtest.metrics
        return pd.Series({"fees": metrics.fees, "slippage": metrics.slippage}, name="costs")

    def explain(self, time: Any) -> list[CandleExplanation]:
        """Return the explanation of one candle, for each symbol.

        Args:
            time: A moment within the candle: a text such as `2024-01-31T14:00` (UTC), a datetime,
                or epoch seconds.

        Raises:
            DataError: no symbol has a candle there.
        """
        return explain(self._backtest, convert_moment(time, "time"))

    def plot(self) -> "ReportView":
        """Return the HTML report; a notebook shows it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.html"
            write_backtest_report(self._backtest, path)
            return ReportView(path.read_text(encoding="utf-8"))

    def save(self, root: Path | None = None, *, report: bool = True) -> Path:
        """Save the run in a separate folder, and return it; `load_run` reads it again.

        Args:
            root: Folder of all saved runs; None: data/runs.
            report: Whether the folder gets the HTML report.

        Raises:
            ConfigurationError: the folder cannot be written; nothing is left behind.
        """

        def write(path: Path) -> None:
            write_backtest_report(self._backtest, path)

        summary = save_run(
            self._backtest,
            self.summary,
            make_trade_records(self._backtest),
            write_report=write if report else None,
            root=root,
            digests=self.digest,
        )
        return Path(str(summary.run))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: the run without the strategy's code, and the digests."""
        _ = self.summary
        detached = replace(
            self._backtest,
            strategy=None,
            config=replace(self.config, strategy=self.config.strategy.detach()),
        )
        computed = {"summary": self.summary, "digest": self.digest}
        return {"_backtest": detached, "_note": self._note, **computed}

    @property
    def _runs(self) -> tuple[SymbolRun, ...]:
        return self._backtest.runs

    @cached_property
    def _index(self) -> "pd.DatetimeIndex":
        import pandas as pd

        times: Any = pd.to_datetime(self._backtest.timestamp, unit="s", utc=True)
        return pd.DatetimeIndex(times, name="date")


class ReportView:
    """The HTML report of a backtest, shown by notebooks."""

    def __init__(self, html: str) -> None:
        """Take the whole page."""
        self.html = html

    def __repr__(self) -> str:
        """Return the text on how to open the report outside a notebook."""
        return "HTML report; a notebook shows it, .save('report.html') writes it"

    def _repr_html_(self) -> str:
        """Return the report inside a frame, as notebooks show it."""
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" width="100%" '
            f'height="{_PLOT_HEIGHT}" style="border:0"></iframe>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page into a file, and return its path."""
        Path(path).write_text(self.html, encoding="utf-8")
        return Path(path)


def _compute_position(run: SymbolRun, timestamp: IntArray) -> Any:
    """Return the base currency held at the closes of candles; shape (m,)."""
    changes = np.zeros(len(run.result.candles))
    bars = np.maximum(np.asarray(run.result.indices, dtype=np.int64), 0)
    np.add.at(changes, bars, [fill.base_change for fill in run.result.fills])
    held = np.cumsum(changes)
    last = np.searchsorted(run.result.candles.timestamp, timestamp, side="right") - 1
    return np.where(last >= 0, held[np.maximum(last, 0)] if len(held) else 0.0, 0.0)


def _make_candle_frame(run: SymbolRun) -> "pd.DataFrame":
    frame: Any = run.result.candles.frame()
    skipped = run.window.warm_up
    for name, column in run.signals.indicators.items():
        frame[name] = column[skipped:]
    frame["signal"] = run.signals.signal[skipped:]
    return frame


def _find_drawdowns(backtest: Backtest) -> list[tuple[int, int, int | None, float]]:
    """Return start, bottom, end (None: not regained) and depth (zero or negative) of each fall."""
    equity, times = backtest.equity, backtest.timestamp
    if not len(equity):
        return []
    high = np.maximum.accumulate(np.concatenate(([backtest.metrics.start_cash], equity)))[1:]
    under = equity < high
    edges = np.flatnonzero(np.diff(under.astype(np.int8), prepend=0, append=0))
    found: list[tuple[int, int, int | None, float]] = []
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        ratios = equity[first:after] / high[first:after] - 1.0
        bottom = first + int(ratios.argmin())
        end = int(times[after]) if after < len(times) else None
        start = int(times[max(first - 1, 0)])
        found.append((start, int(times[bottom]), end, float(ratios.min())))
    return found
