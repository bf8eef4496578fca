"""Records of a backtest while it runs: candles, inputs and run of a symbol, and the whole backtest.

`records.py` has the records that are printed and saved.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct, field

from onetape.backtest.config import BacktestConfig
from onetape.backtest.records import BiasCheck
from onetape.core.candles import Candles, FloatArray, IntArray, SeriesKey
from onetape.core.digits import Digits
from onetape.core.simulated import Origin
from onetape.core.trading_rules import TradingRules
from onetape.engine import (
    AccountConfig,
    IntrabarSource,
    Metrics,
    PortfolioResult,
    SimulationResult,
    compute_equal_parts_equity,
)
from onetape.strategies import Higher, HigherCandles, Signals, Strategy
from onetape.strategies.segments import WHOLE, IndexedGap, InputGaps, Segment


class CandleWindow(Struct, frozen=True):
    """The candles of one symbol's run: the warm-up first, then the traded range."""

    key: SeriesKey
    """Exchange, symbol and timeframe."""
    candles: Candles
    """Closed candles, warm-up included, oldest first."""
    warm_up: int
    """Number of candles before the range."""
    required_warm_up: int
    """Number of candles before the range that the strategy needs."""
    start: int
    """Start of the range, epoch seconds, inclusive."""
    end: int
    """End of the range, epoch seconds, exclusive."""
    known_outages: int
    """Number of candles of the range that are missing for a known reason."""
    unexplained: int
    """Number of candles of the range missing for an unknown reason; 0 unless gaps are allowed."""
    left_out: int | None
    """Open (epoch seconds) of the newest row, if nothing proves that it is closed; else None."""
    gaps: tuple[IndexedGap, ...] = ()
    """Unexplained gaps: before the first candle, in the warm-up and in the range."""
    accepted: Mapping[str, int] = field(default_factory=dict[str, int])
    """Number of known outages that a person accepted, by reason."""
    origin: Origin | None = None
    """Origin of the simulator's candles; None: candles of a real exchange."""
    startup_moved: int = 0
    """Number of candles by which the start was moved, because the strategy's startup candles give
    no signal."""


class HigherTimeframes(Struct, frozen=True):
    """The candles of higher timeframes and of other markets of one symbol's run."""

    candles: Higher = field(default_factory=dict[str, HigherCandles])
    """Candles by their name in `higher`, aligned with the traded candles."""
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Text on the origin of the candles, by label such as `1d candles`."""
    notes: tuple[str, ...] = ()
    """Notes on missing candles of these series, in sentences."""
    gaps: Mapping[str, InputGaps] = field(default_factory=dict[str, InputGaps])
    """Unexplained gaps of each series, by its name in `higher`; no window crosses a gap."""


class SymbolInput(Struct, frozen=True):
    """One symbol with its candles and signals, before the account trades it."""

    config: BacktestConfig
    """Configuration of this symbol alone."""
    window: CandleWindow
    """Candles of the run, warm-up first."""
    higher: HigherTimeframes
    """Higher-timeframe candles of the run."""
    segments: tuple[Segment, ...]
    """Parts of the candles without an unexplained gap."""
    signals: Signals
    """Signals of all candles of the window, warm-up included."""
    seconds: float
    """Duration of the evaluation, seconds."""
    trading_rules: TradingRules
    """Trading rules of the symbol's market: price step, amount step, minimums."""
    trading_rules_text: str
    """Description of the trading rules of the symbol's market, for output."""
    intrabar: IntrabarSource | None
    """Reader of intrabar candles; None: none are used."""
    has_volume: bool
    """Whether any stored candle of the series has volume."""


class SymbolRun(Struct, frozen=True):
    """Candles, signals and result of one symbol in a backtest."""

    window: CandleWindow
    """Candles of the run, warm-up first."""
    higher: HigherTimeframes
    """Higher-timeframe candles of the run."""
    signals: Signals
    """Signals of all candles of the window, warm-up included."""
    segments: tuple[Segment, ...]
    """Parts of the candles without an unexplained gap; no window crosses from one to another."""
    result: SimulationResult
    """Fills, trades and equity; the equity is that of the whole account."""
    trading_rules_text: str
    """Description of the trading rules of the symbol's market, for output."""
    digits: Digits
    """Decimals of prices, amounts and money of the symbol, for output."""
    check: BiasCheck
    """Result of the bias check of this symbol."""

    @property
    def symbol(self) -> str:
        """Return the CCXT symbol."""
        return self.window.key.symbol

    @property
    def has_gaps(self) -> bool:
        """Return whether an unexplained gap cuts the candles into segments."""
        return self.segments != WHOLE


class BenchmarkMarket(Struct, frozen=True):
    """Market that buy and hold holds instead of the traded symbols."""

    symbol: str
    """CCXT symbol of the market."""
    candles: Candles
    """Closed candles of the range of the run, oldest first."""
    rules: AccountConfig
    """Rules of the account, with the trading rules of this market."""


class Backtest(Struct, frozen=True):
    """A finished backtest and everything that its result depends on."""

    config: BacktestConfig
    """Configuration of the run."""
    strategy: Strategy | None
    """The strategy; None in a run that was read from a pickle."""
    strategy_name: str
    """Name of the strategy, as the run was started with."""
    parameters: Mapping[str, Any]
    """Parameters of the strategy by name."""
    runs: tuple[SymbolRun, ...]
    """One run for each symbol, in the order of the symbols."""
    portfolio: PortfolioResult
    """Result of the account that all symbols share."""
    metrics: Metrics
    """Metrics of the account."""
    range_notes: tuple[str, ...] = ()
    """Sentences on the symbols that decided the range of the run."""
    strategy_note: str = ""
    """Warning about values that a strategy function reads from outside; empty: no warning."""
    seconds: float = 0.0
    """Duration of the run, seconds."""
    benchmark: BenchmarkMarket | None = None
    """Market that buy and hold holds; None: the traded symbols."""
    return_without_costs: float | None = None
    """Total return of the same run without costs, as a ratio; None: the account has no costs."""

    @property
    def first(self) -> SymbolRun:
        """Return the run of the first symbol, which may be the only one."""
        return self.runs[0]

    @property
    def has_several(self) -> bool:
        """Return whether several symbols share the account."""
        return len(self.runs) > 1

    @property
    def timestamp(self) -> IntArray:
        """Return the opens (epoch seconds) of all symbols' candles; shape (m,)."""
        return self.portfolio.timestamp

    @property
    def equity(self) -> FloatArray:
        """Return the account's equity at the closes of these candles, quote currency; (m,)."""
        return self.portfolio.equity

    def buy_and_hold(self) -> FloatArray:
        """Return the value of buying and holding all symbols, at the same closes; shape (m,).

        With a benchmark, its symbol is bought and held.
        """
        markets = [(run.result.candles, run.result.rules) for run in self.runs]
        if self.benchmark is not None:
            markets = [(self.benchmark.candles, self.benchmark.rules)]
        held = compute_equal_parts_equity(markets, self.timestamp)
        return np.full(len(self.timestamp), self.metrics.start_cash) if held is None else held
