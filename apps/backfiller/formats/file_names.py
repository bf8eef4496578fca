"""Facts about a candle file that its name states: exchange, symbol and timeframe.

Known are the naming schemes of Onetape, freqtrade, Binance, Kraken, CryptoDataDownload and
TradingView. Names and folders of futures are recognised too, so that they are not imported.
"""

import re
import unicodedata
from itertools import pairwise
from pathlib import PurePath
from typing import Final

from msgspec import Struct

#: Timeframes of the minutes in Kraken's file names. Its 1-week and 15-day candles are left out:
#: they open on other days than elsewhere.
_KRAKEN_MINUTES: Final = {
    "1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h", "720": "12h",
    "1440": "1d",
}  # fmt: skip
#: Quote currencies of Kraken's markets.
_KRAKEN_QUOTES: Final = (
    "PYUSD", "RLUSD", "USDT", "USDC", "USDG", "EURC", "EURQ", "USDQ", "USD", "EUR", "GBP", "CAD",
    "JPY", "AUD", "CHF", "XBT", "ETH", "DAI", "AED",
)  # fmt: skip
#: Codes whose point Kraken leaves out in the name of a pair: ETH2SETH is ETH2.S/ETH.
_KRAKEN_WITHOUT_POINT: Final = {"ETH2S": "ETH2.S"}
#: Quote currencies of Binance's markets, also used for names of other exchanges.
_QUOTES: Final = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD1", "BIDR", "IDRT", "BKRW", "BVND",
    "BTC", "ETH", "BNB", "EUR", "TRY", "GBP", "AUD", "BRL", "JPY", "RUB", "UAH", "NGN", "ZAR",
    "PLN", "RON", "ARS", "MXN", "CZK", "COP", "DAI", "PAX", "TRX", "XRP", "DOGE", "UST", "VAI",
)  # fmt: skip
_SUFFIX: Final = re.compile(r"\.(csv|txt|json|feather|parquet|zip|gz)", re.IGNORECASE)
#: A currency or a pair, as exchanges write them: capital letters, digits, letters without case.
_CODE: Final = r"[^a-z\s_/\\:,;-]+"
_TIMEFRAME: Final = r"[1-9][0-9]{0,2}[smhdwM]"
#: Onetape: binance_BTC-USDT_1h_20170817_20240421
_ONETAPE_NAME: Final = re.compile(
    rf"(?:([a-z][a-z0-9]*)_)?({_CODE})-({_CODE})_({_TIMEFRAME})(?:_.*)?"
)
#: freqtrade: BTC_USDT-1h; its futures and funding rates have more words in their names
_FREQTRADE: Final = re.compile(rf"({_CODE})_({_CODE})-({_TIMEFRAME}|1Mo)")
_FREQTRADE_OTHER: Final = re.compile(
    rf"{_CODE}(?:_{_CODE})*-[0-9]+[a-zA-Z]+-(futures|mark|index|premiumIndex|funding_rate)"
)
#: Binance: BTCUSDT-1h-2025-01 and BTCUSDT-1h-2025-01-31
_BINANCE: Final = re.compile(
    rf"({_CODE})-([0-9]+(?:[smhdw]|mo))-[0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}})?"
)
#: Binance's futures: BTCUSD_PERP-1h-2025-01 and BTCUSD_250328-1h-2025-01
_BINANCE_CONTRACT: Final = re.compile(rf"{_CODE}_(?:PERP|[0-9]{{6}})(?:-.*)?")
#: Kraken: XBTUSD_60
_KRAKEN: Final = re.compile(rf"({_CODE})_([0-9]+)")
#: CryptoDataDownload: Binance_BTCUSDT_1h, Bitstamp_BTCUSD_2024_minute
_CRYPTODATADOWNLOAD: Final = re.compile(
    rf"([A-Z][a-z]+[A-Za-z]*)_({_CODE})(?:_[0-9]{{4}})?_(minute|hour|d|{_TIMEFRAME})"
)
_CRYPTODATADOWNLOAD_TIMEFRAMES: Final = {"minute": "1m", "hour": "1h", "d": "1d"}
#: TradingView: "BINANCE_BTCUSDT, 60" and "BINANCE_BTCUSDT, 1D_3f2a1"
_TRADINGVIEW: Final = re.compile(rf"([A-Z]+)_({_CODE}), ([0-9]+|1[DW])(?:[ _].*)?")
_TRADINGVIEW_TIMEFRAMES: Final = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h",
    "240": "4h", "360": "6h", "480": "8h", "720": "12h", "1D": "1d", "1W": "1w",
}  # fmt: skip
#: Words that mark a contract instead of a spot market: BTC-USDT-SWAP, BTCUSDTPERP, BTC1!
_CONTRACT: Final = re.compile(
    r"USD[TC]?[-_]?PERP|PERPETUAL|[-_](?:SWAP|perp|futures?|PREMIUM)(?![A-Za-z0-9])|\d!"
)
#: Exchanges whose markets are contracts, by their names at TradingView.
_CONTRACT_EXCHANGES: Final = ("bitmex", "deribit", "dydx", "cme")
#: Folders of Binance's archives, with the content of their files.
_OTHER_KIND_FOLDERS: Final = {
    "markPriceKlines": "mark prices",
    "indexPriceKlines": "index prices",
    "premiumIndexKlines": "premium indexes",
}


class NameFacts(Struct, frozen=True):
    """Facts stated by the name of a file; None: not stated."""

    exchange: str | None = None
    """Id of the exchange, as CCXT names it."""
    symbol: str | None = None
    """Market, such as BTC/USDT, in the codes of `codes_of`."""
    timeframe: str | None = None
    is_guess: bool = False
    """Whether the exchange is a guess from the style of the name."""
    codes_of: str | None = None
    """Exchange whose currency codes the symbol uses; None: CCXT's codes."""
    other_kind: str | None = None
    """Kind of the file's contents if they are not spot candles, such as `futures`."""
    possible_symbols: tuple[str, ...] = ()
    """Symbols that the name may mean if it is ambiguous; `symbol` is None then."""
    is_kraken_archive: bool = False
    """Whether the name is of Kraken's archive, in which a gap means that nothing was traded."""


def parse_file_name(path: PurePath) -> NameFacts:
    """Return the facts stated by the name of a file and of its folders."""
    stem = unicodedata.normalize("NFC", _SUFFIX.sub("", path.name))
    other_kind = _find_other_kind(path, stem)
    if other_kind is not None:
        return NameFacts(other_kind=other_kind)
    if match := _ONETAPE_NAME.fullmatch(stem):
        return NameFacts(match[1], f"{match[2]}/{match[3]}", match[4])
    if match := _FREQTRADE.fullmatch(stem):
        # freqtrade stores them in user_data/data/EXCHANGE.
        folder = path.parent
        exchange = folder.name if folder.parent.name == "data" else None
        timeframe = match[3].replace("Mo", "M")
        return NameFacts(
            exchange, f"{match[1]}/{match[2]}", timeframe, is_guess=exchange is not None
        )
    found = _parse_publisher_name(stem)
    if found.symbol is None and not found.possible_symbols and is_contract_name(stem):
        return NameFacts(other_kind="futures")
    return found


def is_contract_name(name: str) -> bool:
    """Return whether a market's name denotes a contract, such as BTC-USDT-SWAP."""
    return _CONTRACT.search(name) is not None


def has_quote_suffix(pair: str) -> bool:
    """Return whether a name such as BTCUSDT ends in the code of a known quote currency."""
    return _split_pair(pair, (*_QUOTES, *_KRAKEN_QUOTES, "KRW")) is not None


def _find_other_kind(path: PurePath, stem: str) -> str | None:
    """Return the kind of a file without spot candles, by its name and folders."""
    folders = path.parts[:-1]
    for folder in folders:
        if folder in _OTHER_KIND_FOLDERS:
            return _OTHER_KIND_FOLDERS[folder]
    # Binance: data/futures/um/monthly/klines; freqtrade: data/binance/futures.
    binance = any(
        folder == "futures" and after in ("um", "cm") for folder, after in pairwise(folders)
    )
    in_futures = binance or (folders[-1:] == ("futures",) and "data" in folders)
    if match := _FREQTRADE_OTHER.fullmatch(stem):
        return {"mark": "mark prices", "index": "index prices"}.get(match[1], "futures")
    contract = _BINANCE_CONTRACT.fullmatch(stem) or re.search(r"USDT?\.P\b", stem)
    return "futures" if in_futures or contract else None


def _parse_publisher_name(stem: str) -> NameFacts:
    """Return the facts in a name of Binance, Kraken, CryptoDataDownload or TradingView."""
    if match := _BINANCE.fullmatch(stem):
        symbol = _split_pair(match[1], _QUOTES)
        timeframe = match[2].replace("mo", "M")
        return NameFacts("binance", symbol, timeframe, is_guess=True, codes_of="binance")
    if (match := _KRAKEN.fullmatch(stem)) and match[2] in _KRAKEN_MINUTES:
        return NameFacts(
            "kraken", _parse_kraken_symbol(match[1]), _KRAKEN_MINUTES[match[2]], is_guess=True,
            codes_of="kraken", is_kraken_archive=True,
        )  # fmt: skip
    if match := _CRYPTODATADOWNLOAD.fullmatch(stem):
        return _parse_general_name(
            match[1], match[2], _CRYPTODATADOWNLOAD_TIMEFRAMES.get(match[3], match[3])
        )
    if (match := _TRADINGVIEW.fullmatch(stem)) and match[3] in _TRADINGVIEW_TIMEFRAMES:
        if match[1].lower() in _CONTRACT_EXCHANGES:
            return NameFacts(other_kind="futures")
        return _parse_general_name(match[1], match[2], _TRADINGVIEW_TIMEFRAMES[match[3]])
    return NameFacts()


def _parse_general_name(name: str, pair: str, timeframe: str) -> NameFacts:
    """Return the facts of a name of the form exchange, pair and timeframe."""
    exchange = name.lower()
    if exchange == "kraken":
        markets = tuple(filter(None, [_parse_kraken_symbol(pair)]))
    else:
        # BATUSD may be BAT/USD or BA/TUSD. Binance has no markets in USD.
        longest = _split_pair(pair, (*_QUOTES, "USD"))
        dollars = _split_pair(pair, ("USD",)) if exchange != "binance" else None
        markets = tuple(dict.fromkeys(filter(None, [dollars, longest])))
    symbol = markets[0] if len(markets) == 1 else None
    return NameFacts(
        exchange, symbol, timeframe, is_guess=True, codes_of=exchange,
        possible_symbols=markets if len(markets) > 1 else (),
    )  # fmt: skip


def _split_pair(pair: str, quotes: tuple[str, ...]) -> str | None:
    """Return BTC/USDT of BTCUSDT, by the longest quote currency at its end; None without one."""
    ends = [quote for quote in quotes if pair.endswith(quote) and pair != quote]
    if not ends:
        return None
    quote = max(ends, key=len)
    return f"{pair.removesuffix(quote)}/{quote}"


def _parse_kraken_symbol(pair: str) -> str | None:
    """Return XBT/USD of XBTUSD or of the older XXBTZUSD; None: no known quote currency."""
    old = re.fullmatch(r"X([A-Z]{3})[XZ]([A-Z]{3})|(USDT)Z(USD)", pair)
    if old:
        base, quote = [part for part in old.groups() if part]
        return f"{base}/{quote}"
    symbol = _split_pair(pair, _KRAKEN_QUOTES)
    base = symbol.partition("/")[0] if symbol else ""
    return symbol.replace(base, _KRAKEN_WITHOUT_POINT.get(base, base), 1) if symbol else None
