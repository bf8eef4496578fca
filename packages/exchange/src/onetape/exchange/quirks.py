"""What differs from exchange to exchange, as data."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one exchange serves candles."""

    page_limit: int
    """Candles in one answer at most."""
    close_grace_ms: int
    """How long after a candle's end REST may still answer with a value that is not final."""
    unserved_timeframes: frozenset[str] = frozenset()
    """Timeframes that CCXT names and the exchange does not serve."""


#: CCXT's `fetch_ohlcv` documentation of each exchange, and the recorded answers we test with.
QUIRKS: Final = {
    "binance": Quirks(page_limit=1_000, close_grace_ms=2_000),
    "simulator": Quirks(1_000, close_grace_ms=0, unserved_timeframes=frozenset({"1s"})),
    "kraken": Quirks(page_limit=720, close_grace_ms=5_000),
    "okx": Quirks(page_limit=300, close_grace_ms=3_000),
    "coinbase": Quirks(page_limit=300, close_grace_ms=5_000),
    "bybit": Quirks(page_limit=1_000, close_grace_ms=3_000),
    "kucoin": Quirks(page_limit=1_500, close_grace_ms=5_000),
}
#: For an exchange nobody has looked at: small pages work everywhere, a long grace is never wrong.
UNKNOWN: Final = Quirks(page_limit=200, close_grace_ms=10_000)


def quirks_of(exchange: str) -> Quirks:
    """Return how an exchange serves candles."""
    return QUIRKS.get(exchange, UNKNOWN)
