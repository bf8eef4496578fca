"""Settings of the backtester: in config/backtester.yaml, the environment or by flags."""

from pathlib import Path
from typing import Annotated

import msgspec

from onetape.cli.common_settings import DATABASE, EXCHANGE, SYMBOL, TIMEFRAME, StrategySettings
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.core.errors import name_settings
from onetape.core.setting import DeclaredStruct, Setting
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine.account_config import (
    MAX_OPEN_TRADES,
    RISK_FREE_RATE,
    TRADING_RULES,
    AccountConfig,
    TradingRulesSource,
)


class BacktesterSettings(DeclaredStruct, frozen=True, kw_only=True):
    """Settings of the backtester: candles, strategy, account and exits."""

    from_: Annotated[
        str | None,
        Setting(
            "First day, UTC.",
            flag="--from",
            metavar="YYYY-MM-DD",
            empty="the first candle that all symbols have",
        ),
    ] = msgspec.field(default=None, name="from")
    to: Annotated[
        str | None,
        Setting(
            "Stop before this day, UTC (exclusive).",
            flag="--to",
            metavar="YYYY-MM-DD",
            empty="the newest that all symbols have",
        ),
    ] = None
    symbol: Annotated[
        str, SYMBOL._replace(is_joined=True, file_example="BTC/USDT,ETH/USDT on one account")
    ] = DEFAULT_SYMBOL
    max_open_trades: Annotated[int | None, MAX_OPEN_TRADES] = None
    exchange: Annotated[str, EXCHANGE] = DEFAULT_EXCHANGE
    timeframe: Annotated[str, TIMEFRAME] = DEFAULT_TIMEFRAME
    strategy: StrategySettings = StrategySettings()
    account: AccountConfig = AccountConfig()
    """Settings of money, costs, order sizes and exits."""
    timeframe_detail: Annotated[
        str | None,
        Setting(
            "Timeframe of intrabar candles, which show the order of prices: 1m.",
            flag="--timeframe-detail",
            metavar="NAME",
        ),
    ] = None
    trading_rules: Annotated[TradingRulesSource, TRADING_RULES] = "exchange"
    risk_free_rate: Annotated[float, RISK_FREE_RATE] = 0.0
    benchmark: Annotated[
        str | None,
        Setting(
            "Symbol that buy and hold holds in a backtest, such as BTC/USDT.",
            flag="--benchmark",
            metavar="SYMBOL",
            empty="the traded symbols",
        ),
    ] = None
    allow_gaps: Annotated[
        bool,
        Setting("Continue over missing candles whose cause is unknown.", flag="--allow-gaps"),
    ] = False
    check: Annotated[
        bool, Setting("Check a sample of bars for look-ahead.", flag="--check/--no-check")
    ] = True
    db: Annotated[Path | None, DATABASE] = None
    report: Annotated[
        Path | None,
        Setting(
            "HTML report to write.", flag="--report", metavar="FILE", empty="in the run's folder"
        ),
    ] = None


def parse_symbols(settings: BacktesterSettings) -> tuple[str, ...]:
    """Return the symbols of a backtest.

    Raises:
        UsageError: a symbol cannot be read; names the setting.
    """
    with name_settings("symbol"):
        symbols = (symbol.strip() for symbol in settings.symbol.split(","))
        return tuple(parse_spot_symbol(symbol) for symbol in symbols if symbol)


def parse_benchmark(settings: BacktesterSettings) -> str | None:
    """Return the symbol of the benchmark; None: the traded symbols.

    Raises:
        UsageError: the symbol cannot be read; names the setting.
    """
    with name_settings("benchmark"):
        return None if settings.benchmark is None else parse_spot_symbol(settings.benchmark)


def parse_timeframe(settings: BacktesterSettings) -> str:
    """Return the timeframe of a backtest by its common name.

    Raises:
        UsageError: the timeframe cannot be read; names the setting.
    """
    with name_settings("timeframe"):
        return Timeframe.parse(settings.timeframe).name
