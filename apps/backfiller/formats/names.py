"""What the name of a candle file says of its content, by the habits of those who publish them."""

import re
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from onetape.core.errors import UsageError

#: Kraken names its files by pair and minutes; 1 week and 15 days open on days of its own.
_KRAKEN_MINUTES: Final = {
    "1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h", "720": "12h",
    "1440": "1d",
}  # fmt: skip
_KRAKEN_CODES: Final = {"XBT": "BTC", "XDG": "DOGE"}
# Longest first, so that BTCUSDT ends in USDT.
_KRAKEN_QUOTES: Final = (
    "PYUSD", "RLUSD", "USDT", "USDC", "USDG", "EURC", "EURQ", "USDQ", "USD", "EUR", "GBP", "CAD",
    "JPY", "AUD", "CHF", "XBT", "ETH", "DAI", "AED",
)  # fmt: skip
_BINANCE_QUOTES: Final = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD1", "BIDR", "IDRT", "BKRW", "BVND",
    "BTC", "ETH", "BNB", "EUR", "TRY", "GBP", "AUD", "BRL", "JPY", "RUB", "UAH", "NGN", "ZAR",
    "PLN", "RON", "ARS", "MXN", "CZK", "COP", "DAI", "PAX", "TRX", "XRP", "DOGE", "UST", "VAI",
)  # fmt: skip
_SUFFIX: Final = re.compile(r"\.(csv|txt|json|feather|parquet|zip|gz)", re.IGNORECASE)
#: A currency or a pair, as exchanges write them: capital letters, digits, letters without case.
_CODE: Final = r"[^a-z\s_/\\:,;-]+"
_TIMEFRAME: Final = r"[1-9][0-9]{0,2}[smhdwM]"
#: binance_BTC-USDT_1h_20170817_20240421
_OURS: Final = re.compile(rf"(?:([a-z][a-z0-9]*)_)?({_CODE})-({_CODE})_({_TIMEFRAME})(?:_.*)?")
#: BTC_USDT-1h; futures and funding rates have more words in their names
_FREQTRADE: Final = re.compile(rf"({_CODE})_({_CODE})-({_TIMEFRAME}|1Mo)")
_FREQTRADE_OTHER: Final = re.compile(
    rf"{_CODE}(?:_{_CODE})*-[0-9]+[a-zA-Z]+-(futures|mark|index|premiumIndex|funding_rate)"
)
#: BTCUSDT-1h-2025-01 and BTCUSDT-1h-2025-01-31
_BINANCE: Final = re.compile(
    rf"({_CODE})-([0-9]+(?:[smhdw]|mo))-[0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}})?"
)
#: XBTUSD_60
_KRAKEN: Final = re.compile(rf"({_CODE})_([0-9]+)")


class Named(Struct, frozen=True):
    """What a name says; None where it does not."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    by_habit: bool = False
    """The exchange is only the one whose habit the name follows, so a flag may say another."""


def named(path: PurePath) -> Named:
    """Return what the name of a file says.

    Raises:
        UsageError: it says that these are no candles of a spot market.
    """
    stem = _SUFFIX.sub("", path.name)
    if _FREQTRADE_OTHER.fullmatch(stem):
        raise UsageError(f"{path} is a file of futures, and Onetape trades spot only")
    if match := _OURS.fullmatch(stem):
        return Named(match[1], f"{match[2]}/{match[3]}", match[4])
    if match := _FREQTRADE.fullmatch(stem):
        # freqtrade keeps them in user_data/data/EXCHANGE.
        folder = path.parent
        exchange = folder.name if folder.parent.name == "data" else None
        return Named(exchange, f"{match[1]}/{match[2]}", match[3].replace("Mo", "M"), by_habit=True)
    if match := _BINANCE.fullmatch(stem):
        symbol = _split(match[1], _BINANCE_QUOTES)
        return Named("binance", symbol, match[2].replace("mo", "M"), by_habit=True)
    if (match := _KRAKEN.fullmatch(stem)) and match[2] in _KRAKEN_MINUTES:
        return Named("kraken", _kraken_symbol(match[1]), _KRAKEN_MINUTES[match[2]], by_habit=True)
    return Named()


def _split(pair: str, quotes: tuple[str, ...]) -> str | None:
    """Return BTC/USDT of BTCUSDT; None where no known quote currency ends the name."""
    ends = [quote for quote in quotes if pair.endswith(quote) and pair != quote]
    if not ends:
        return None
    quote = max(ends, key=len)
    return f"{pair.removesuffix(quote)}/{quote}"


def _kraken_symbol(pair: str) -> str | None:
    """Return BTC/USD of XBTUSD, also of Kraken's older XXBTZUSD."""
    old = re.fullmatch(r"X([A-Z]{3})[XZ]([A-Z]{3})|(USDT)Z(USD)", pair)
    if old:
        base, quote = [part for part in old.groups() if part]
    else:
        symbol = _split(pair, _KRAKEN_QUOTES)
        if symbol is None:
            return None
        base, quote = symbol.split("/")
    return f"{_KRAKEN_CODES.get(base, base)}/{_KRAKEN_CODES.get(quote, quote)}"
