"""Configuration of a backtest: series, range, strategy and account, parsed and checked once."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from onetape.core.candles import SeriesKey
from onetape.core.clock import check_range
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.core.errors import UsageError, name_settings
from onetape.core.folders import USER_FOLDER
from onetape.core.resample import check_multiple
from onetape.core.setting import DeclaredStruct
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig
from onetape.engine.account_config import (
    MAX_OPEN_TRADES,
    RISK_FREE_RATE,
    TRADING_RULES,
    TradingRulesSource,
)
from onetape.strategies import Strategy, load_strategy
from onetape.strategies.parameters import convert_parameters
from onetape.strategies.registry import read_stated_settings, read_stated_settings_of_class

#: Exchange id of candles that come from a DataFrame.
FRAME_EXCHANGE: Final = "dataframe"


class StrategyChoice(Struct, frozen=True):
    """A strategy by name, with its parameters as text."""

    name: str
    """Built-in name, name of a file in the user folder, or `path/to/file.py:Class`."""
    parameters: Mapping[str, str]
    """Parameter values as text by name; parameters left out keep their defaults."""
    user_folder: Path = USER_FOLDER
    """Folder whose `strategies/` is searched for the name."""

    def load(self) -> Strategy:
        """Return a new instance of the strategy; a user's file is executed again.

        Raises:
            OnetapeError: the strategy cannot be loaded, or does not accept the parameters.
        """
        return load_strategy(self.name, self.parameters, user_folder=self.user_folder)

    def find_stated_timeframe(self) -> str | None:
        """Return the timeframe that a freqtrade strategy states in its file; None: none stated.

        Raises:
            OnetapeError: the file cannot be used.
        """
        found = read_stated_settings(self.name, self.user_folder)
        return None if found is None else found.values["timeframe"]

    def detach(self) -> "StrategyChoice":
        """Return the choice by name and parameters alone, without code."""
        return StrategyChoice(self.name, dict(self.parameters), self.user_folder)


class ClassChoice(StrategyChoice, frozen=True, kw_only=True):
    """A strategy given as a class, with its parameters as values."""

    cls: type[Strategy]
    """Class of the strategy."""
    values: Mapping[str, Any]
    """Parameter values by name; parameters left out keep their defaults."""

    def load(self) -> Strategy:
        """Return a new instance of the class.

        Raises:
            UsageError: the class does not accept the parameters.
        """
        return self.cls(**convert_parameters(self.cls, self.values))

    def find_stated_timeframe(self) -> str | None:
        """Return the timeframe that a freqtrade strategy class states; None for other strategies.

        Raises:
            ConfigurationError: a value of the class's file cannot be used.
        """
        found = read_stated_settings_of_class(self.cls)
        return None if found is None else found.values["timeframe"]


class BacktestConfig(DeclaredStruct, frozen=True, kw_only=True):
    """Configuration of one backtest of one or several symbols on one account."""

    exchange: str = DEFAULT_EXCHANGE
    """CCXT exchange id of the candles, or `simulator`."""
    symbols: tuple[str, ...] = (DEFAULT_SYMBOL,)
    """CCXT spot symbols with one quote currency; several share the account."""
    timeframe: str = DEFAULT_TIMEFRAME
    """CCXT timeframe of the traded candles."""
    start: int | None = None
    """First moment of the range, epoch seconds; None: the first candle that all symbols have."""
    end: int | None = None
    """End of the range, epoch seconds, exclusive; None: after the newest that all symbols have."""
    strategy: StrategyChoice
    own_strategies: Mapping[str, StrategyChoice] = field(default_factory=dict[str, StrategyChoice])
    """Strategy by symbol, for symbols that another strategy than `strategy` trades."""
    account: AccountConfig
    """Account, costs, sizing and exits; each symbol's trading rules are added when it is read."""
    max_open_trades: Annotated[int | None, MAX_OPEN_TRADES] = None
    """Maximum number of open positions; None: the number of symbols."""
    timeframe_detail: str | None = None
    """Timeframe of the intrabar candles that decide how a candle met stop or target."""
    trading_rules: Annotated[TradingRulesSource, TRADING_RULES] = "exchange"
    """exchange: the price and amount steps and minimums of the exchange; none: no rounding."""
    risk_free_rate: Annotated[float, RISK_FREE_RATE] = 0.0
    """Risk-free rate per year in the Sharpe and Sortino ratios, as a ratio: 0.04 is 4 %."""
    benchmark: str | None = None
    """CCXT spot symbol that buy and hold holds; None: the traded symbols, in equal parts."""
    allow_gaps: bool = False
    """Whether the run continues over candles that are missing for an unknown reason."""
    check: bool = True
    """Whether the run includes a bias check."""
    database: Path
    """Database file with the candles."""
    db_flag: Path | None = None
    """Database file as the user named it, repeated in suggested commands; None: the default."""

    def __post_init__(self) -> None:
        """Check the values that need no candles.

        Raises:
            UsageError: a value is invalid, or two do not fit together.
        """
        super().__post_init__()
        with name_settings("symbol"):
            _check_symbols(self.symbols)
        with name_settings("benchmark"):
            _check_benchmark(self.benchmark, self.symbols[0])
        if self.start is not None and self.end is not None:
            check_range(self.start, self.end)
        self.get_intrabar_timeframe()

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """Return the series of each symbol, in the order of the symbols."""
        return tuple(SeriesKey(self.exchange, one, self.timeframe) for one in self.symbols)

    @property
    def key(self) -> SeriesKey:
        """Return the series of a run over one symbol.

        Raises:
            UsageError: there are several symbols.
        """
        if len(self.symbols) > 1:
            raise UsageError(f"this takes one symbol, found {', '.join(self.symbols)}")
        return self.keys[0]

    @property
    def slot_count(self) -> int:
        """Return the number of positions that the account may hold at a time."""
        return min(self.max_open_trades or len(self.symbols), len(self.symbols))

    @property
    def db_argument(self) -> str:
        """Return ` --db FILE` for suggested commands; empty for the default database."""
        return "" if self.db_flag is None else f" --db {shlex.quote(str(self.db_flag))}"

    def select_symbol(self, symbol: str) -> "BacktestConfig":
        """Return the configuration of one symbol alone, with the strategy of that symbol."""
        chosen = self.own_strategies.get(symbol, self.strategy)
        return replace(self, symbols=(symbol,), strategy=chosen, own_strategies={})

    def get_intrabar_timeframe(self) -> Timeframe | None:
        """Return the timeframe of the intrabar candles, or None without them.

        Raises:
            UsageError: the timeframe is no whole part of the traded one.
        """
        if self.timeframe_detail is None:
            return None
        both = ("timeframe_detail", "timeframe")
        with name_settings(both[0]):
            intrabar = Timeframe.parse(self.timeframe_detail)
        traded = Timeframe.parse(self.timeframe)
        if intrabar.seconds >= traded.seconds:
            raise UsageError(
                f"timeframe_detail must be under the timeframe {traded.name}, "
                f"found {intrabar.name}",
                setting=both,
            )
        try:
            check_multiple(intrabar, traded)
        except UsageError as error:
            raise UsageError(
                f"timeframe_detail must divide the timeframe {traded.name}, found {intrabar.name}; "
                f"choose one such as {'1m' if traded.seconds > 60 else '1s'}",
                setting=both,
            ) from error
        return intrabar


def _check_benchmark(benchmark: str | None, symbol: str) -> None:
    quote = split_symbol(symbol)[1]
    if benchmark is not None and split_symbol(benchmark)[1] != quote:
        raise UsageError(
            f"benchmark must have the quote currency of the account, {quote}, found {benchmark}"
        )


def _check_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols:
        raise UsageError("this takes one symbol, found none")
    twice = next((symbol for symbol in symbols if symbols.count(symbol) > 1), None)
    if twice is not None:
        raise UsageError(f"symbol {twice} is given twice; leave one out")
    quotes = sorted({split_symbol(symbol)[1] for symbol in symbols})
    if len(quotes) > 1:
        raise UsageError(
            f"symbols that share an account need one quote currency, found {', '.join(quotes)}"
        )
