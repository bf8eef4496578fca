"""Configuration and candles of a backtest in Python, made of the arguments of `ot.backtest`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from onetape.backtest.candle_sources import StoredCandles
from onetape.backtest.candle_windows import open_run_database
from onetape.backtest.config import FRAME_EXCHANGE, BacktestConfig, StrategyChoice
from onetape.backtest.frame_data import (
    FRAME_SYMBOL,
    NO_DATABASE,
    convert_frame_to_candles,
    infer_timeframe,
    read_frame,
)
from onetape.backtest.models import SymbolInput
from onetape.backtest.python_times import convert_moment
from onetape.backtest.symbol_inputs import read_symbols
from onetape.core.candles import Candles
from onetape.core.clock import format_utc
from onetape.core.errors import DataError, UsageError
from onetape.core.message_text import format_count
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig
from onetape.strategies import Strategy

if TYPE_CHECKING:
    import pandas as pd

    #: Candles of one symbol, or of several by symbol.
    CandlesLike = (
        StoredCandles | pd.DataFrame | Mapping[str, StoredCandles] | Mapping[str, pd.DataFrame]
    )


def read_frames(
    config: BacktestConfig, frames: Mapping[str, Candles], strategy: Strategy
) -> tuple[list[SymbolInput], tuple[str, ...]]:
    """Return the candles of DataFrames, evaluated, and a note on ranges that are left out.

    Of several DataFrames only the range that all have is used.

    Raises:
        DataError: several have no candle at one time.
        OnetapeError: see `read_frame`.
    """
    notes: tuple[str, ...] = ()
    if len(frames) > 1:
        config, notes = _apply_common_range(config, frames)
    inputs = [
        read_frame(
            frames[symbol],
            config.select_symbol(symbol),
            strategy,
            is_alone=len(config.symbols) == 1,
            frames=frames,
        )
        for symbol in config.symbols
    ]
    return inputs, notes


def _apply_common_range(
    config: BacktestConfig, frames: Mapping[str, Candles]
) -> tuple[BacktestConfig, tuple[str, ...]]:
    """Return a configuration with the range of all DataFrames, and a note on candles outside it."""
    timeframe = Timeframe.parse(config.timeframe)
    first = max(int(one.timestamp[0]) for one in frames.values())
    after = timeframe.next(min(int(one.timestamp[-1]) for one in frames.values()))
    start = first if config.start is None else config.start
    end = after if config.end is None else config.end
    if start >= end:
        raise DataError("the DataFrames have no candle in common in the range")
    parts: list[str] = []
    for symbol, one in frames.items():
        before = int((one.timestamp < start).sum()) if config.start is None else 0
        later = int((one.timestamp >= end).sum()) if config.end is None else 0
        counts = ((before, "before"), (later, "after"))
        texts = [f"{format_count(many, 'candle')} {where} it" for many, where in counts if many]
        parts += [f"{' and '.join(texts)} of {symbol}"] if texts else []
    found = replace(config, start=start, end=end)
    if not parts:
        return found, ()
    return found, (
        f"all DataFrames have candles from {format_utc(start)} to {format_utc(end)} UTC, "
        f"and only this range is traded; not traded: {', '.join(parts)}",
    )


def read_inputs(
    config: BacktestConfig, frames: Mapping[str, Candles], strategy: Strategy
) -> list[SymbolInput]:
    """Return the candles of a configuration, evaluated, from DataFrames or from the store.

    Raises:
        OnetapeError: as for a backtest.
    """
    if frames:
        return read_frames(config, frames, strategy)[0]
    with open_run_database(config) as store:
        return read_symbols(store, config, strategy)[0]


def make_config(
    candles: "CandlesLike", choice: StrategyChoice, *, start: Any, end: Any, **settings: Any
) -> tuple[BacktestConfig, dict[str, Candles]]:
    """Return the configuration, and the candles of DataFrames by symbol; empty for stored ones.

    Raises:
        UsageError: an argument is invalid, or the candles have another timeframe than the file of a
            freqtrade strategy states.
        OnetapeError: the strategy or the candles cannot be used.
    """
    config, frames = _make_config_and_frames(candles, choice, start=start, end=end, **settings)
    if config.account.fee_tier is not None:
        config = replace(config, account=_apply_fee_tier(config.account, config.exchange))
    stated = choice.find_stated_timeframe()
    if stated is not None:
        from onetape.strategies.freqtrade.stated_settings import check_timeframe

        check_timeframe(config.timeframe, stated, f"the strategy file of {choice.name}")
    return config, frames


def _apply_fee_tier(account: AccountConfig, exchange: str) -> AccountConfig:
    """Return an account with the fees of its fee tier, which it has.

    Raises:
        UsageError: the exchange has no such tier; DataFrames have no exchange.
        ConfigurationError: the user's file of fee tiers cannot be used.
    """
    # Few accounts name a fee tier.
    from onetape.core.fee_tiers import find_fee_tier

    if exchange == FRAME_EXCHANGE:
        raise UsageError("fee_tier needs stored candles of an exchange; set fee_rate instead")
    tier = find_fee_tier(exchange, account.fee_tier or "")
    return replace(account, fee_rate=tier.taker, maker_fee_rate=tier.maker)


def _make_config_and_frames(
    candles: "CandlesLike", choice: StrategyChoice, *, start: Any, end: Any, **settings: Any
) -> tuple[BacktestConfig, dict[str, Candles]]:
    """Return the configuration of a run, and its candles by symbol if given as frames."""
    given: dict[str, Any] = dict(candles) if isinstance(candles, Mapping) else {"": candles}
    if not given:
        raise UsageError("candles has no symbol; give one or several")
    stored = {name: one for name, one in given.items() if isinstance(one, StoredCandles)}
    moments: dict[str, Any] = {
        "start": None if start is None else convert_moment(start, "start"),
        "end": None if end is None else convert_moment(end, "end"),
    }
    if stored and len(stored) < len(given):
        raise UsageError("candles mixes stored candles and DataFrames; give one kind")
    if stored:
        return _make_stored_config([*stored.values()], choice, moments, settings), {}
    frames = {
        parse_spot_symbol(name) if name else FRAME_SYMBOL: convert_frame_to_candles(one)
        for name, one in given.items()
    }
    timeframes = {infer_timeframe(one).name for one in frames.values()}
    if len(timeframes) > 1:
        raise UsageError(f"the DataFrames have different timeframes: {', '.join(timeframes)}")
    if settings.get("timeframe_detail") is not None:
        raise UsageError("timeframe_detail needs stored candles; use load_candles")
    if settings.get("benchmark") is not None:
        raise UsageError("benchmark needs stored candles; use load_candles")
    values: dict[str, Any] = {**settings, **moments, "trading_rules": "none"}
    config = BacktestConfig(
        exchange=FRAME_EXCHANGE,
        symbols=tuple(frames),
        timeframe=timeframes.pop(),
        strategy=choice,
        database=NO_DATABASE,
        **values,
    )
    return config, frames


def _make_stored_config(
    stored: list[StoredCandles],
    choice: StrategyChoice,
    moments: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> BacktestConfig:
    """Return the configuration of a run over candles of the store."""
    first = stored[0]
    others = {(one.key.exchange, one.key.timeframe, one.database) for one in stored}
    if len(others) > 1:
        raise UsageError("several symbols need one exchange, one timeframe and one database")
    start, end = moments["start"], moments["end"]
    allow_gaps = settings["allow_gaps"] or any(one.allow_gaps for one in stored)
    values: dict[str, Any] = {**settings, "allow_gaps": allow_gaps}
    return BacktestConfig(
        exchange=first.key.exchange,
        symbols=tuple(one.key.symbol for one in stored),
        timeframe=first.key.timeframe,
        start=max(one.start for one in stored) if start is None else start,
        end=min(one.end for one in stored) if end is None else end,
        strategy=choice,
        database=Path(first.database),
        db_flag=first.db_flag,
        **values,
    )
