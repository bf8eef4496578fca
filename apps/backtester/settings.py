"""What the backtester can be told, in config/backtester.yaml, the environment or by flags."""

from pathlib import Path
from typing import cast

import msgspec

from onetape.backtest.config import (
    DEFAULT_EXCHANGE,
    DEFAULT_SYMBOL,
    DEFAULT_TIMEFRAME,
    BacktestConfig,
    Market,
    StrategyChoice,
)
from onetape.cli.dates import parse_moment
from onetape.cli.settings import AccountSettings, ExitSettings, StrategySettings
from onetape.core.folders import USER_FOLDER, database_path
from onetape.core.symbols import spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import Rules, exit_rules
from onetape.strategies.registry import check_choice


class BacktesterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to replay, with which strategy and which money."""

    exchange: str = DEFAULT_EXCHANGE
    """CCXT exchange id, or `simulator`."""
    symbol: str = DEFAULT_SYMBOL
    """Spot symbol as CCXT writes it; several, separated by commas, share one account."""
    max_open_trades: int | None = None
    """Positions at a time, of several symbols; none: as many as symbols."""
    timeframe: str = DEFAULT_TIMEFRAME
    """CCXT timeframe."""
    from_: str | None = msgspec.field(default=None, name="from")
    """First day or moment, UTC; none: the first stored candle, of all symbols."""
    to: str | None = None
    """Stop before this day or moment, UTC (exclusive); none: after the newest of all symbols."""
    strategy: StrategySettings = StrategySettings()
    account: AccountSettings = AccountSettings()
    exits: ExitSettings = ExitSettings()
    detail_timeframe: str | None = None
    """Stored timeframe that is asked how a candle met stop or target; divides `timeframe`."""
    market: str = "exchange"
    """exchange: its price and amount steps and minimums; ideal: none of them."""
    allow_gaps: bool = False
    """Whether to go on over missing candles that nobody can explain."""
    check: bool = True
    """Whether a few bars are looked at for look-ahead and a short warm-up."""
    db: Path | None = None
    """Database file; none: data/onetape.db, or data/simulator.db for the simulator."""
    report: Path | None = None
    """HTML file; none: one in the run's folder."""


def config_of(settings: BacktesterSettings) -> BacktestConfig:
    """Return the configuration of the run that the settings describe, parsed and checked.

    Raises:
        UsageError: a setting cannot be used.
    """
    account, exits = settings.account, settings.exits
    values = {field: getattr(account, field) for field in account.__struct_fields__}
    given = {field: getattr(exits, field) for field in exits.__struct_fields__}
    symbols = (symbol.strip() for symbol in settings.symbol.split(","))
    return BacktestConfig(
        exchange=settings.exchange,
        symbols=tuple(spot_symbol(symbol) for symbol in symbols if symbol),
        timeframe=Timeframe.parse(settings.timeframe).name,
        start=None if settings.from_ is None else parse_moment(settings.from_, "--from"),
        end=None if settings.to is None else parse_moment(settings.to, "--to"),
        strategy=StrategyChoice(settings.strategy.name, settings.strategy.parameters, USER_FOLDER),
        account=Rules(**values, exits=exit_rules(given)),
        max_open_trades=settings.max_open_trades,
        detail_timeframe=settings.detail_timeframe,
        market=cast("Market", settings.market),  # which BacktestConfig checks
        allow_gaps=settings.allow_gaps,
        check=settings.check,
        database=database_path(settings.db, settings.exchange),
        db_flag=settings.db,
    )


def check_search_settings(settings: BacktesterSettings) -> None:
    """Check all settings but the parameters, which a search takes in another form.

    Raises:
        UsageError: a setting cannot be used.
    """
    config_of(settings)
    check_choice(settings.strategy.name, None, USER_FOLDER)


def check_settings(settings: BacktesterSettings) -> None:
    """Check all settings; parameters of a user's own file are checked when it is loaded.

    Raises:
        UsageError: a setting cannot be used.
    """
    config_of(settings)
    check_choice(settings.strategy.name, settings.strategy.parameters, USER_FOLDER)
