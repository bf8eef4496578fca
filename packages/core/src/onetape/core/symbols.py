"""Spot symbols as CCXT writes them, such as `BTC/USDT`."""

import re
from typing import Final

from onetape.core.errors import UsageError

#: The exchange id of the built-in simulator, whose candles are in a separate file.
SIMULATOR_ID: Final = "simulator"
#: One currency of a symbol, as a regular expression: exchanges list names such as 1INCH, ETH2.S and
#: 币安人生. No currency contains a separator of symbols, folders or the parts of a symbol.
CURRENCY: Final = r"(?!\.)[^\s/\\:,;]{1,30}"
_SPOT: Final = re.compile(rf"{CURRENCY}/{CURRENCY}")


def parse_spot_symbol(text: str) -> str:
    """Return the CCXT symbol of a typed text: `BTC/USDT` for `btc-usdt` and for `BTC/USDT`.

    Raises:
        UsageError: a derivative (`BTC/USDT:USDT`), or no symbol at all.
    """
    symbol = text.strip().upper()
    if not symbol.isascii():
        import unicodedata  # most symbols need no table of all characters

        # File systems may write one character as two; exchanges do not.
        symbol = unicodedata.normalize("NFC", symbol)
    if ":" in symbol:
        spot = symbol.partition(":")[0]
        raise UsageError(
            f"symbol {text!r} is a derivative and Onetape trades spot only; did you mean {spot!r}?"
        )
    symbol = symbol.replace("-", "/", 1) if "/" not in symbol else symbol
    if not _SPOT.fullmatch(symbol) or not symbol.isprintable():
        raise UsageError(f"symbol {text!r} was not understood; write base/quote, such as BTC/USDT")
    return symbol


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return base and quote currency of a spot symbol."""
    base, _, quote = symbol.partition("/")
    return base, quote
