"""The settings of the trader, which come from config/trader.yaml, the environment or flags."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec

from onetape.cli.common_settings import (
    DATABASE,
    EXCHANGE,
    SIMULATOR_URL,
    SYMBOL,
    TIMEFRAME,
    StrategySettings,
)
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.core.folders import choose_database_path
from onetape.core.setting import DeclaredStruct, Setting
from onetape.engine.account_config import MAX_MONEY, MAX_OPEN_TRADES, AccountConfig
from onetape.execution.risk_limits import RiskLimits
from trader.monitoring.settings import MonitoringSettings

#: Reason in the error of several exchanges or timeframes.
_ONCE: Final = "and a trader trades on one exchange and timeframe; start one trader for each"


class SymbolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the setting `symbols`: a symbol, and its strategy if it has its own."""

    symbol: str
    strategy: StrategySettings | None = None
    """Strategy of the symbol; None: the strategy of the whole trader."""


class TraderSettings(DeclaredStruct, frozen=True, kw_only=True):
    """Settings of the trader: symbols, strategies, account, exits and limits."""

    mode: Annotated[
        str,
        Setting(
            "paper: orders are filled by the backtester's rules and reach no exchange. live: "
            "orders go to an exchange's API (docs/live.md)."
        ),
    ] = "paper"
    symbol: Annotated[
        str, SYMBOL._replace(is_joined=True, file_example="BTC/USDT,ETH/USDT on one account")
    ] = DEFAULT_SYMBOL
    symbols: Annotated[
        list[SymbolSettings],
        Setting(
            "Symbols of one account, instead of symbol, each with its own strategy; one "
            "without has the strategy below.",
            file_example="[{symbol: BTC/USDT}, {symbol: ETH/USDT, strategy: {name: macd}}]",
        ),
    ] = msgspec.field(default_factory=list[SymbolSettings])
    max_open_trades: Annotated[
        int | None,
        MAX_OPEN_TRADES._replace(
            help="Positions of the account at a time, in all its processes.",
            empty="as many as symbols",
        ),
    ] = None
    exchange: Annotated[str, EXCHANGE._replace(once=_ONCE)] = DEFAULT_EXCHANGE
    sandbox: Annotated[
        bool,
        Setting(
            "Send live orders to the exchange's test network, with a key and play money of that "
            "network; the database is data/sandbox.db.",
            flag="--sandbox",
        ),
    ] = False
    untested_exchange: Annotated[
        bool,
        Setting(
            "Allow live orders that were never tried: with real money, or at an exchange of which "
            "only the requests are tested (docs/exchanges.md).",
            flag="--untested-exchange",
        ),
    ] = False
    timeframe: Annotated[str, TIMEFRAME._replace(once=_ONCE)] = DEFAULT_TIMEFRAME
    strategy: StrategySettings = StrategySettings()
    params_from: str | None = ""
    """Text about the saved run that strategy and parameters come from; empty: from the settings.

    None: a run is named that cannot be used, so strategy and parameters are unknown.
    """
    account_name: Annotated[
        str | None,
        Setting(
            "Name of the account; each account has its own start balance and positions.",
            flag="--account",
            metavar="NAME",
            empty="one for each exchange, symbol and timeframe, or set of symbols",
        ),
    ] = None
    cash: Annotated[
        Decimal | None,
        Setting(
            "Start balance of a new account, in quote currency; refused if the account was opened "
            "with another one.",
            key="account.cash",
            flag="--cash",
            metavar="AMOUNT",
            empty="10000",
            gt=0,
            plausible_max=MAX_MONEY,
        ),
    ] = None
    account: AccountConfig = AccountConfig()
    """Costs, sizes and exits of orders; the cash is the account's."""
    risk: RiskLimits = RiskLimits()
    """Settings of the limits of live orders."""
    stop_limit: Annotated[
        float | None,
        Setting(
            "Live: make the stop at the exchange a limit order this far below its level; 0.01 is "
            "1 %. If it does not fill, the position is sold at the market 5 s later.",
            flag="--stop-limit",
            metavar="RATIO",
            empty="a market order",
            gt=0,
            lt=1,
            hint="0.01 is 1 %",
        ),
    ] = None
    stale_after_seconds: Annotated[
        float,
        Setting("No message for this long: connect again, and enter no position meanwhile.", ge=1),
    ] = 30.0
    max_signal_age_seconds: Annotated[
        float,
        Setting("A signal older than this, on the wall clock, no longer becomes an order.", ge=0),
    ] = 60.0
    entry_wait_seconds: Annotated[
        float,
        Setting(
            "With several symbols: how long entries wait for the candle of each symbol, to follow "
            "the backtest's order; exits never wait. Wall clock.",
            ge=0,
        ),
    ] = 5.0
    strategy_timeout_seconds: Annotated[
        float | None,
        Setting(
            "A strategy that takes longer for its signals is ended: no decision on that candle, "
            "and the next one is tried.",
            empty="a tenth of the timeframe, from 5 to 60",
            ge=1,
        ),
    ] = None
    strategy_memory_mb: Annotated[
        int,
        Setting("Memory that the strategy may use (address space of its process), MB.", ge=512),
    ] = 4_096
    ticker_days: Annotated[
        float, Setting("Tickers that are older than this are deleted.", ge=0)
    ] = 7.0
    monitoring: MonitoringSettings = MonitoringSettings()
    """Settings of JSON log, alerts and heartbeat."""
    db: Annotated[Path | None, DATABASE] = None
    simulator_url: Annotated[str | None, SIMULATOR_URL] = None


def choose_trader_database(settings: TraderSettings) -> Path:
    """Return the path of a trader's database: of the settings, or the default of the exchange."""
    return choose_database_path(settings.db, settings.exchange, is_sandbox=settings.sandbox)
