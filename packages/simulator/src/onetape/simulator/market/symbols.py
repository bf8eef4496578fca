"""The default markets: names, steps, limits, listing dates, weights of the shared price paths."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

#: NOTIONAL: largest value of an order with a limit, quote currency.
MAX_NOTIONAL: Final = Decimal(9_000_000)
#: Digits after the point of every decimal that Binance writes.
MIN_PLACES: Final = 8


@dataclass(frozen=True, slots=True)
class SpotSymbol:
    """One market. Prices are whole ticks and amounts whole steps, both powers of ten."""

    base: str
    """Asset that is bought and sold, such as `BTC`."""
    quote: str
    """Asset that pays, such as `USDT`."""
    price_digits: int
    """Digits after the point of a price; a tick is 10**-price_digits."""
    amount_digits: int
    """Digits after the point of an amount; a step is 10**-amount_digits."""
    anchor: float
    """Price that the market moves around, in quote currency."""
    weights: tuple[tuple[str, float], ...]
    """Weight of each shared path in the log price; 0.6 alone means an annual volatility of 60 %."""
    lot: int
    """Mean amount of one trade, in steps."""
    listed: int
    """First minute with trades, epoch seconds UTC."""
    max_quantity: str
    """LOT_SIZE maximum, base currency, as Binance writes it."""
    max_market_quantity: str
    """MARKET_LOT_SIZE maximum, base currency."""
    max_price: str
    """PRICE_FILTER maximum, quote currency."""
    min_notional: str
    """NOTIONAL minimum, quote currency."""
    delisted: int | None = None
    """First minute without trades, epoch seconds UTC; from then on its status is BREAK."""
    untraded_share: float = 0.0
    """Share of the minutes without a trade, 0 to 0.5."""

    @property
    def price_places(self) -> int:
        """Return the digits after the point of a written price: 8, or those of a smaller tick."""
        return max(MIN_PLACES, self.price_digits)

    @property
    def id(self) -> str:
        """Binance's name, such as `BTCUSDT`."""
        return self.base + self.quote

    @property
    def name(self) -> str:
        """CCXT's name, such as `BTC/USDT`."""
        return f"{self.base}/{self.quote}"

    def get_status(self, now: int) -> str:
        """Return `TRADING`, or `BREAK` once it is closed permanently; `now` is epoch seconds."""
        return "TRADING" if self.delisted is None or now < self.delisted else "BREAK"


def _utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


# Steps and limits as Binance stated them in 2025. ETH/BTC shares its paths with ETH/USDT and
# BTC/USDT (0.55 - 0.6 and 0.5), so that the three prices fit together.
SYMBOLS: Final = (
    SpotSymbol(
        "BTC", "USDT", 2, 5, 60_000.0, (("BTC", 0.6),), 9_000, _utc(2017, 8, 17, 4),
        "9000.00000000", "97.09521512", "1000000.00000000", "5.00000000",
    ),
    SpotSymbol(
        "ETH", "USDT", 2, 4, 3_000.0, (("BTC", 0.55), ("ETH", 0.5)), 15_000, _utc(2017, 8, 17, 4),
        "9000.00000000", "2109.49087083", "1000000.00000000", "5.00000000",
    ),
    SpotSymbol(
        "SOL", "USDT", 2, 3, 150.0, (("BTC", 0.6), ("SOL", 0.75)), 30_000, _utc(2020, 8, 11, 6),
        "90000.00000000", "11540.30012500", "100000.00000000", "5.00000000",
    ),
    SpotSymbol(
        "XRP", "USDT", 4, 1, 0.6, (("BTC", 0.5), ("XRP", 0.7)), 40_000, _utc(2018, 5, 4, 8, 11),
        "9222449.00000000", "1024315.22083333", "10000.00000000", "5.00000000",
    ),
    SpotSymbol(
        "BNB", "USDT", 2, 3, 550.0, (("BTC", 0.45), ("BNB", 0.4)), 4_000, _utc(2017, 11, 6, 3, 54),
        "900000.00000000", "1106.98091666", "100000.00000000", "5.00000000",
    ),
    SpotSymbol(
        "ETH", "BTC", 5, 4, 0.05, (("BTC", -0.05), ("ETH", 0.5)), 30_000, _utc(2017, 7, 14, 4),
        "100000.00000000", "1378.22417541", "922327.00000000", "0.00010000",
    ),
    SpotSymbol(
        "DOGE", "USDT", 5, 0, 0.15, (("BTC", 0.6), ("DOGE", 0.85)), 25_000, _utc(2019, 7, 5, 12),
        "90000000.00000000", "7230451.87500000", "1000.00000000", "1.00000000",
    ),
    # A thin market with very small prices: four minutes of ten have no trade.
    SpotSymbol(
        "BRD", "BTC", 8, 0, 0.000_008, (("BTC", -0.1), ("BRD", 0.9)), 60, _utc(2017, 12, 8, 7),
        "90000000.00000000", "51238.62500000", "1000.00000000", "0.00010000",
        untraded_share=0.4,
    ),
    SpotSymbol(
        "BCC", "USDT", 2, 5, 900.0, (("BTC", 0.5), ("BCC", 0.8)), 90_000, _utc(2017, 11, 20, 4),
        "900000.00000000", "1240.47916666", "100000.00000000", "5.00000000",
        delisted=_utc(2018, 11, 16, 4),
    ),
)  # fmt: skip


#: Pattern of a market's name in Binance's refusals.
REFUSED_NAME_PATTERN: Final = "^[A-Z0-9-_.]{1,20}$"
#: Names that Binance accepts: since 2025 it lists markets whose names are not Latin.
ACCEPTED_NAMES: Final = re.compile(r"[^a-z\s/:,;@]{1,60}")


class UnknownSymbol(KeyError):
    """A market name is unknown."""


def make_symbols(count: int) -> tuple[SpotSymbol, ...]:
    """Return the default markets, and invented ones after them, such as for a list of 3,000.

    The invented markets are named `XAAA`, `XAAB` and so on; every second one is in BREAK, as on
    Binance in 2025, and every fifth of the others has minutes without a trade.

    Args:
        count: Number of markets, from 1 to 17,576 more than the default ones.
    """
    invented = [_invent_symbol(number) for number in range(count - len(SYMBOLS))]
    return (*SYMBOLS[:count], *invented)


def _invent_symbol(number: int) -> SpotSymbol:
    letters = "X" + "".join(chr(65 + number // 26**place % 26) for place in (2, 1, 0))
    quote = ("USDT", "BTC", "USDC", "TRY", "FDUSD")[number % 5]
    price_digits = 8 if quote == "BTC" else 2 + number % 4
    listed = _utc(2018, 1, 1) + number % 2_000 * 86_400
    return SpotSymbol(
        letters,
        quote,
        price_digits,
        number % 6 if quote == "BTC" else 5 - number % 4,
        (1 + number % 97) * 10.0 ** (3 - price_digits),
        (("BTC", 0.5), (letters, 0.6)),
        5_000,
        listed,
        "9000000.00000000",
        "90000.00000000",
        "1000000.00000000",
        "0.00010000" if quote == "BTC" else "5.00000000",
        delisted=listed + 700 * 86_400 if number % 2 else None,
        untraded_share=0.35 if number % 10 == 0 else 0.0,
    )
