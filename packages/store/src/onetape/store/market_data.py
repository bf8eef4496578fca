"""Read and write tickers, and the trading rules of markets. Times are epoch milliseconds."""

from decimal import Decimal

from msgspec import Struct

from onetape.core.trading_rules import TradingRules, format_decimal
from onetape.store.database import Store

#: Old tickers deleted in one transaction, and in one call, which takes about a tenth of a second.
#: Five calls delete a day of tickers, one a second.
DELETED_A_TIME = 500
MOST_DELETED = 20_000
#: Tickers dated later than now by more than this, milliseconds, are not read: one of them would
#: count as the newest ticker until that time.
AHEAD_MS = 1_000


class BestPrices(Struct, frozen=True):
    """Best prices of a market at one moment, in quote currency; None: the exchange sent none."""

    timestamp_ms: int
    """Time of the prices, epoch milliseconds."""
    bid: float | None
    """Highest price of an order to buy."""
    ask: float | None
    """Lowest price of an order to sell."""
    last: float | None
    """Price of the last trade."""


def insert_ticker(store: Store, exchange: str, symbol: str, ticker: BestPrices) -> None:
    """Store a ticker; a ticker of the same millisecond is replaced.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO ticker_data (exchange, symbol, timestamp_ms, bid, ask, last) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (exchange, symbol, ticker.timestamp_ms, ticker.bid, ticker.ask, ticker.last),
        )


def delete_tickers_before(
    store: Store, exchange: str, symbol: str, before_ms: int, *, at_most: int = MOST_DELETED
) -> int:
    """Delete the oldest tickers before `before_ms`; return their number.

    The rows are deleted in small transactions, so that other processes can write, and at most
    `at_most` per call, so that the caller is not blocked for long.

    Raises:
        StoreError: the file cannot be written.
    """
    deleted = 0
    while deleted < at_most:
        batch = min(DELETED_A_TIME, at_most - deleted)
        count = _delete_oldest_tickers(store, exchange, symbol, before_ms, batch)
        deleted += count
        if count < batch:
            break
    return deleted


def _delete_oldest_tickers(
    store: Store, exchange: str, symbol: str, before_ms: int, count: int
) -> int:
    """Delete at most `count` tickers before a time; return the number of deleted rows."""
    with store.write(bulk=True) as connection:
        # The primary key orders the rows by time, so no more rows are read than deleted.
        connection.execute(
            "DELETE FROM ticker_data WHERE exchange = ?1 AND symbol = ?2 AND timestamp_ms IN ("
            "SELECT timestamp_ms FROM ticker_data WHERE exchange = ?1 AND symbol = ?2 "
            "AND timestamp_ms < ?3 ORDER BY timestamp_ms LIMIT ?4)",
            (exchange, symbol, before_ms, count),
        )
        return connection.changes()


def read_last_ticker(store: Store, exchange: str, symbol: str, *, now_ms: int) -> BestPrices | None:
    """Return the newest ticker; None: no ticker is stored.

    Tickers dated later than `now_ms` (market time) by more than `AHEAD_MS` are left out.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp_ms, bid, ask, last FROM ticker_data "
            "WHERE exchange = ? AND symbol = ? AND timestamp_ms <= ? "
            "ORDER BY timestamp_ms DESC LIMIT 1",
            (exchange, symbol, now_ms + AHEAD_MS),
        ).fetchall()
    return BestPrices(*rows[0]) if rows else None


def save_trading_rules(
    store: Store, exchange: str, symbol: str, trading_rules: TradingRules, seen_ms: int
) -> None:
    """Store the trading rules of a market, for programs that do not request them from the exchange.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO markets "
            "(exchange, symbol, price_step, amount_step, min_amount, min_notional, seen_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                exchange,
                symbol,
                None
                if trading_rules.price_step is None
                else format_decimal(trading_rules.price_step),
                None
                if trading_rules.amount_step is None
                else format_decimal(trading_rules.amount_step),
                format_decimal(trading_rules.min_amount),
                format_decimal(trading_rules.min_notional),
                seen_ms,
            ),
        )


def read_trading_rules(store: Store, exchange: str, symbol: str) -> TradingRules | None:
    """Return the trading rules of a market; None: no program has stored them yet."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT price_step, amount_step, min_amount, min_notional FROM markets "
            "WHERE exchange = ? AND symbol = ?",
            (exchange, symbol),
        ).fetchall()
    if not rows:
        return None
    price_step, amount_step, min_amount, min_notional = rows[0]
    return TradingRules(
        None if price_step is None else Decimal(price_step),
        None if amount_step is None else Decimal(amount_step),
        Decimal(min_amount),
        Decimal(min_notional),
    )
