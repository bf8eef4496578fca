"""Measurement of a market's spread from its stored tickers (`backtester costs`).

The spread of one ticker, in basis points of the mid price, is

    (ask - bid) / ((ask + bid) / 2) x 10,000

A market order buys at the ask or sells at the bid, so against the mid price it pays half of that.
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.backtest.config import BacktestConfig
from onetape.core.digits import format_number
from onetape.core.errors import DataError
from onetape.core.message_text import format_count, suggest_name
from onetape.store.database import Store, open_if_exists
from onetape.store.quotes import read_quoted_markets, read_quotes

#: Minimum number of tickers; with fewer, less than ten would be above the 90th percentile.
MIN_TICKERS: Final = 100
#: Significant digits of a spread: more would be noise, and hard to read in a settings file.
_SIGNIFICANT_DIGITS: Final = 4


class MeasuredSpread(Struct, frozen=True):
    """Spread of one market over its stored tickers."""

    symbol: str
    """Spot symbol in CCXT's spelling."""
    tickers: int
    """Number of tickers that are measured: those whose bid is below their ask."""
    left_out: int
    """Number of tickers that are left out: bid or ask is missing, or the bid is not below the ask.
    No order book is in such a state, so the two prices are of different moments."""
    first_ms: int
    """Time of the first ticker that is measured, epoch milliseconds."""
    last_ms: int
    """Time of the last ticker that is measured, epoch milliseconds."""
    median_bps: float
    """Median of the spread, basis points of the mid price."""
    percentile_90_bps: float
    """90th percentile of the spread, basis points of the mid price."""


def measure_spreads(config: BacktestConfig) -> list[MeasuredSpread]:
    """Return the spread of each symbol of a backtest, in the order of the symbols.

    Raises:
        DataError: the database file does not exist, or has too few tickers of a symbol; the text
            has the command that stores them.
        StoreError: the database file cannot be used.
    """
    store = open_if_exists(config.database)
    if store is None:
        raise DataError(
            f"{config.database} does not exist; a trader stores bid and ask while it runs: "
            f"{_format_trader_command(config, config.symbols)}"
        )
    with store:
        return [_measure_spread(store, config, symbol) for symbol in config.symbols]


def choose_spread_bps(measured: Iterable[MeasuredSpread]) -> str:
    """Return the setting `spread_bps` for these markets, as text of four significant digits.

    The spread is the largest of the markets' medians, because an account has one spread for all of
    its symbols.
    """
    return format_bps(max(one.median_bps for one in measured))


def format_bps(value: float) -> str:
    """Return basis points as text of at most four significant digits, without exponent."""
    return format_number(value, _SIGNIFICANT_DIGITS)


def _measure_spread(store: Store, config: BacktestConfig, symbol: str) -> MeasuredSpread:
    """Return the spread of the stored tickers of one symbol."""
    quotes = read_quotes(store, config.exchange, symbol)
    is_usable = (quotes.bid > 0) & (quotes.bid < quotes.ask)
    count = int(is_usable.sum())
    if count < MIN_TICKERS:
        raise DataError(_format_too_few_tickers(store, config, symbol, len(is_usable), count))
    bid, ask = quotes.bid[is_usable], quotes.ask[is_usable]
    times_ms = quotes.timestamp_ms[is_usable]
    median, percentile_90 = np.percentile((ask - bid) / ((ask + bid) / 2) * 10_000, (50, 90))
    return MeasuredSpread(
        symbol=symbol,
        tickers=count,
        left_out=len(is_usable) - count,
        first_ms=int(times_ms[0]),
        last_ms=int(times_ms[-1]),
        median_bps=float(median),
        percentile_90_bps=float(percentile_90),
    )


def _format_too_few_tickers(
    store: Store, config: BacktestConfig, symbol: str, stored: int, usable: int
) -> str:
    """Return why a spread cannot be measured, and the command that stores more tickers.

    Args:
        store: The open database.
        config: Configuration with the exchange and the database.
        symbol: Symbol with too few tickers.
        stored: Number of its tickers.
        usable: Number of those whose bid is below their ask.
    """
    market, hint = f"{config.exchange} {symbol}", ""
    if not stored:
        found = f"{store.path} holds no tickers of {market}"
        hint = suggest_name(market, [" ".join(each) for each in read_quoted_markets(store)])
    else:
        found = f"{store.path} holds {format_count(stored, 'ticker')} of {market}"
        if usable < stored:
            found += f", {usable:,} with a bid below the ask"
        found += f", and {MIN_TICKERS} are needed"
    return (
        f"{found}; a trader stores one a second while it runs: "
        f"{_format_trader_command(config, [symbol])}{hint}"
    )


def _format_trader_command(config: BacktestConfig, symbols: Sequence[str]) -> str:
    """Return the command of a paper trader that stores tickers of these symbols."""
    flags = " ".join(f"--symbol {shlex.quote(symbol)}" for symbol in symbols)
    return f"uv run trader --exchange {config.exchange} {flags}{config.db_argument}"
