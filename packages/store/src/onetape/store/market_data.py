"""Tickers, and what each market accepts. Times are epoch milliseconds."""

from dataclasses import dataclass
from decimal import Decimal

from onetape.core.steps import MarketSteps, decimal_text
from onetape.store.database import Store


@dataclass(frozen=True, slots=True)
class Ticker:
    """Best prices at one moment, in quote currency; None where the exchange sent none."""

    timestamp_ms: int
    bid: float | None
    ask: float | None
    last: float | None


def insert_ticker(store: Store, exchange: str, symbol: str, ticker: Ticker) -> None:
    """Store a ticker; one of the same millisecond replaces it.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO ticker_data (exchange, symbol, timestamp_ms, bid, ask, last) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (exchange, symbol, ticker.timestamp_ms, ticker.bid, ticker.ask, ticker.last),
        )


def delete_tickers_before(store: Store, exchange: str, symbol: str, before_ms: int) -> int:
    """Delete the tickers older than `before_ms` and return how many there were."""
    with store.write() as connection:
        connection.execute(
            "DELETE FROM ticker_data WHERE exchange = ? AND symbol = ? AND timestamp_ms < ?",
            (exchange, symbol, before_ms),
        )
        return connection.changes()


def last_ticker(store: Store, exchange: str, symbol: str) -> Ticker | None:
    """Return the newest ticker, or None."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp_ms, bid, ask, last FROM ticker_data "
            "WHERE exchange = ? AND symbol = ? ORDER BY timestamp_ms DESC LIMIT 1",
            (exchange, symbol),
        ).fetchall()
    return Ticker(*rows[0]) if rows else None


def save_market(store: Store, exchange: str, symbol: str, steps: MarketSteps, seen_ms: int) -> None:
    """Remember what a market accepts, for programs that read the tables only.

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
                None if steps.price_step is None else decimal_text(steps.price_step),
                None if steps.amount_step is None else decimal_text(steps.amount_step),
                decimal_text(steps.min_amount),
                decimal_text(steps.min_notional),
                seen_ms,
            ),
        )


def market_steps(store: Store, exchange: str, symbol: str) -> MarketSteps | None:
    """Return what a market accepts, or None where no program has asked the exchange yet."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT price_step, amount_step, min_amount, min_notional FROM markets "
            "WHERE exchange = ? AND symbol = ?",
            (exchange, symbol),
        ).fetchall()
    if not rows:
        return None
    price_step, amount_step, min_amount, min_notional = rows[0]
    return MarketSteps(
        None if price_step is None else Decimal(price_step),
        None if amount_step is None else Decimal(amount_step),
        Decimal(min_amount),
        Decimal(min_notional),
    )
