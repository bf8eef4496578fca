"""Contents of a report page: plain arrays and texts, without types of engine and strategies."""

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct, field

from onetape.core.candles import Candles, FloatArray
from onetape.core.digits import Digits
from onetape.core.simulated import Origin


class ReportTitle(Struct, frozen=True):
    """Title of a report: strategy, market and rules of the run."""

    exchange: str
    """CCXT exchange id."""
    symbol: str
    """CCXT spot symbol; the part after the slash names the quote currency."""
    timeframe: str
    """CCXT timeframe of the candles."""
    start_timestamp: int
    """First moment of the range, epoch seconds UTC."""
    end_timestamp: int
    """End of the range, exclusive, epoch seconds UTC."""
    strategy: str
    """Display name of the strategy, such as `RSI`."""
    generated_at_ms: int
    """Time at which the run was made, epoch milliseconds UTC."""
    kind: str = "Backtest of"
    """Words before the market in the title: `Backtest of`, `Paper trading of`."""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters of the strategy, in display order."""
    rules: Mapping[str, str] = field(default_factory=dict[str, str])
    """Cash, fee, slippage, trading rules and so on: label and value, in display order."""
    notes: tuple[str, ...] = ()
    """Sentences for the reader: known outages, ambiguous bars, result of the bias check."""
    origin: Origin | None = None
    """Origin of the simulator's candles, shown in a banner; None for a real exchange."""
    warning: str = ""
    """Short reason why the result is not reliable, shown in red under the headline; empty: none."""
    warning_text: str = ""
    """Finding behind `warning`, and the command that shows more; shown after it."""

    @property
    def quote(self) -> str:
        """Return the quote currency, empty where the symbol names none."""
        return self.symbol.partition("/")[2]


class Headline(Struct, frozen=True):
    """The four metrics of the headline, as the engine computed them."""

    strategy_return: float
    """Return of the strategy as a ratio: 0.123 is +12.3 %."""
    buy_and_hold_return: float
    """Return of buy and hold as a ratio: 0.123 is +12.3 %."""
    fees_quote: float
    """All fees, in quote currency."""
    max_drawdown: float
    """Deepest fall from an earlier peak, as a ratio; 0.18 and -0.18 both mean -18 %."""
    benchmark: str = ""
    """Symbol that buy and hold holds; empty: the traded symbols."""


class MetricRow(Struct, frozen=True):
    """One line of the metrics table."""

    label: str
    """Name of the metric, with its unit if the value does not show it."""
    strategy: str
    """The strategy's value as text."""
    buy_and_hold: str = ""
    """Text of the value for buy and hold; empty where it has no meaning."""
    help: str = ""
    """One sentence that explains how the metric is computed."""


#: Kinds of exits, by the engine's names.
ExitKind = Literal["signal", "time_stop", "stop_loss", "trailing_stop", "target"]
#: Moments (epoch seconds UTC) from which a level holds, and the level in quote currency.
LevelSteps = tuple[tuple[int, float], ...]


class ReportTrade(Struct, frozen=True):
    """One trade (entry and exit), or the open one at the end, valued at the last close."""

    entry_timestamp: int
    """Time of the entry fill, epoch seconds UTC."""
    exit_timestamp: int
    """Time of the exit fill, or the last candle's open for an open trade; epoch seconds UTC."""
    entry_price: float
    """Price of the entry, quote currency per unit of base currency."""
    exit_price: float
    """Price of the exit, or valuation price of an open trade; quote currency per unit of base
    currency."""
    amount: float
    """Amount bought, base currency."""
    profit_quote: float
    """Profit after fees, quote currency."""
    profit_ratio: float
    """Profit after fees as a ratio of the amount paid; 0.05 is +5 %."""
    fee_quote: float
    """Fees of entry and exit, quote currency."""
    open_at_end: bool = False
    """Whether the trade was still open at the end of the range."""
    entry_reason: str = ""
    """Reason of the entry, as a text."""
    exit_reason: str = ""
    """Reason of the exit, as a text."""
    exit_kind: ExitKind = "signal"
    """Kind of the exit; without meaning for an open trade."""
    symbol: str = ""
    """Symbol that was traded; empty: the symbol of the title."""
    stop: LevelSteps = ()
    """Price of the stop, drawn until the exit."""
    target: LevelSteps = ()
    """Price of the target, drawn until the exit."""


class DifferenceCause(Struct, frozen=True):
    """One cause of a difference between traded results and a backtest."""

    timestamp: int
    """Open of the candle of the entry, epoch seconds UTC."""
    symbol: str
    """CCXT symbol; empty for a difference of the whole account."""
    what: str
    """Position that differs, as a text."""
    cause: str
    """Cause of the difference, as a text."""
    money: float
    """Contribution to the result of trading, quote currency; negative: the backtest is better."""


class Comparison(Struct, frozen=True):
    """A backtest of the candles that an account traded, compared with its trades."""

    equity: FloatArray
    """Equity of the backtest at each candle's close, quote currency; shape of the candles."""
    rows: tuple[tuple[str, str, str], ...]
    """Label, value of the traded account and value of the backtest, as texts."""
    differences: tuple[DifferenceCause, ...]
    """Differences, oldest first; their money adds up to `total`."""
    total: float
    """Profit of the traded account less that of the backtest, quote currency."""


class MarketChart(Struct, frozen=True, kw_only=True):
    """Chart data of one market. All arrays have the shape (n,) of the candles."""

    candles: Candles
    """The closed candles of the range shown."""
    equity: FloatArray
    """Equity at each candle's close, quote currency."""
    buy_and_hold: FloatArray
    """Equity of buying at the start and holding, quote currency."""
    indicators: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    """Indicator columns by name, in drawing order; NaN without a value. A name that ends in the
    word `histogram` is drawn as columns from zero, others as lines."""
    overlays: Collection[str] = ()
    """Indicators in the unit of the price, drawn over the candles. Each other one gets a pane
    below; names that begin with the same word share a pane, such as `MACD` and `MACD signal`."""
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Guide lines of an indicator, in the unit of the indicator, such as `rsi`: (30, 70)."""
    digits: Digits | None = None
    """Decimals of prices, amounts and money; None: taken from the candles and the cash."""

    def __post_init__(self) -> None:
        """Check that the arrays are as long as the candles and that every name is known.

        Raises:
            ValueError: a column has another length, or a name has no indicator.
        """
        count = len(self.candles)
        columns = {"equity": self.equity, "buy_and_hold": self.buy_and_hold, **self.indicators}
        for name, column in columns.items():
            if column.shape != (count,):
                msg = f"report column {name} must have shape ({count},), found {column.shape}"
                raise ValueError(msg)
        for name in (*self.overlays, *self.levels):
            if name not in self.indicators:
                msg = f"report names indicator {name!r}, known are {sorted(self.indicators)}"
                raise ValueError(msg)

    def list_pane_names(self) -> tuple[tuple[str, ...], ...]:
        """Return the indicators of each pane below the candles, in the order to draw."""
        panes: dict[str, list[str]] = {}
        for name in self.indicators:
            if name not in self.overlays:
                panes.setdefault(name.partition(" ")[0], []).append(name)
        return tuple(tuple(names) for names in panes.values())


class OtherMarket(MarketChart, frozen=True, kw_only=True):
    """A market that was traded on the same account."""

    symbol: str
    """CCXT spot symbol of the other chart."""


class ReportData(MarketChart, frozen=True, kw_only=True):
    """Contents of one page; the chart shows the title's symbol first."""

    title: ReportTitle
    """Title of the page."""
    headline: Headline
    start_cash: float = 0.0
    """Quote currency before the first candle; it counts as a peak that equity can fall from."""
    metrics: tuple[MetricRow, ...] = ()
    """Metrics, in display order."""
    trades: tuple[ReportTrade, ...] = ()
    """Trades, in the order of their entries."""
    others: tuple[OtherMarket, ...] = ()
    """Other symbols that the chart can show; their trades are among `trades`."""
    comparison: Comparison | None = None
    """Backtest of the same candles, for a page of a traded account; None for the page of a
    backtest."""

    def __post_init__(self) -> None:
        """Check the charted columns, and that every trade's market is there.

        Raises:
            ValueError: as for `MarketChart`, or a trade names an unknown symbol.
        """
        super().__post_init__()
        if self.comparison is not None and self.comparison.equity.shape != self.equity.shape:
            msg = f"report column backtest must have shape {self.equity.shape}"
            raise ValueError(msg)
        for trade in self.trades:
            if trade.symbol and trade.symbol not in self.symbols:
                known = ", ".join(self.symbols)
                msg = f"report has a trade of {trade.symbol}, its markets are {known}"
                raise ValueError(msg)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of all markets, the title's first."""
        return (self.title.symbol, *(market.symbol for market in self.others))
