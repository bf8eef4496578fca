"""`manifest.json` of a saved run: its form, and the configuration of the run in it."""

from pathlib import Path
from typing import Any

import msgspec

from onetape.backtest.config import BacktestConfig, StrategyChoice
from onetape.backtest.records import RunSummary
from onetape.core.clock import format_day
from onetape.core.errors import UsageError
from onetape.core.folders import USER_FOLDER, choose_database_path
from onetape.core.setting import build_settings_tree
from onetape.engine import AccountConfig, ExitConfig


class Manifest(msgspec.Struct, frozen=True):
    """Content of `manifest.json`, the record of a saved run.

    A new field of the metrics or of the bias check without a default makes older manifests
    unreadable: that needs another format number.
    """

    format: int
    """Version of the layout of the folder."""
    made: str
    """Time at which the run was made, ISO 8601, UTC."""
    versions: dict[str, str]
    """Versions of Onetape, Python and the libraries that the numbers depend on."""
    digests: dict[str, str]
    """SHA-256 digests of candles, strategy and engine."""
    settings: dict[str, Any]
    """Configuration of the run, as `build_config_tree` returns it."""
    result: RunSummary


def build_config_tree(config: BacktestConfig) -> dict[str, Any]:
    """Return a configuration as plain values, named like the settings of the backtester."""
    account = build_settings_tree(config.account)
    exits = account.pop("exits")
    return {
        "exchange": config.exchange,
        "symbol": ",".join(config.symbols),
        "max_open_trades": config.max_open_trades,
        "timeframe": config.timeframe,
        "from": None if config.start is None else format_day(config.start),
        "to": None if config.end is None else format_day(config.end),
        "strategy": {
            "name": config.strategy.name,
            "parameters": dict(config.strategy.parameters),
        },
        "account": account,
        "exits": msgspec.to_builtins(exits, str_keys=True),
        "timeframe_detail": config.timeframe_detail,
        "trading_rules": config.trading_rules,
        "risk_free_rate": config.risk_free_rate,
        "benchmark": config.benchmark,
        "allow_gaps": config.allow_gaps,
        "check": config.check,
        "db": None if config.db_flag is None else str(config.db_flag),
    }


class _Strategy(msgspec.Struct):
    name: str
    parameters: dict[str, str]


class _Settings(msgspec.Struct, rename={"from_": "from"}):
    """The part of `build_config_tree` from which a run is made again."""

    exchange: str
    symbol: str
    timeframe: str
    strategy: _Strategy
    account: dict[str, Any]
    exits: dict[str, Any]
    max_open_trades: int | None
    timeframe_detail: str | None
    trading_rules: str
    allow_gaps: bool
    check: bool
    db: str | None
    risk_free_rate: float = 0.0
    benchmark: str | None = None


def restore_config(manifest: Manifest) -> BacktestConfig:
    """Return the configuration of a saved run, with the range that the run had.

    Raises:
        UsageError: the manifest holds settings that this version does not have.
    """
    try:
        found = msgspec.convert(manifest.settings, _Settings)
        exits: dict[str, Any] = {
            **found.exits,
            "target_table": _parse_ages(found.exits.get("target_table") or {}),
        }
        account = AccountConfig(**found.account, exits=ExitConfig(**exits))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise UsageError(
            f"the settings of the saved run cannot be used by this version: {error}"
        ) from error
    db = None if found.db is None else Path(found.db)
    return BacktestConfig(
        exchange=found.exchange,
        symbols=tuple(found.symbol.split(",")),
        timeframe=found.timeframe,
        # The range of the result, because an open end in the settings would now be a later candle.
        start=manifest.result.from_,
        end=manifest.result.to,
        strategy=StrategyChoice(found.strategy.name, found.strategy.parameters, USER_FOLDER),
        account=account,
        max_open_trades=found.max_open_trades,
        timeframe_detail=found.timeframe_detail,
        trading_rules="none" if found.trading_rules == "none" else "exchange",
        risk_free_rate=found.risk_free_rate,
        benchmark=found.benchmark,
        allow_gaps=found.allow_gaps,
        check=found.check,
        database=choose_database_path(db, found.exchange),
        db_flag=db,
    )


def _parse_ages(table: dict[str, float]) -> dict[int, float]:
    return {int(age): ratio for age, ratio in table.items()}
