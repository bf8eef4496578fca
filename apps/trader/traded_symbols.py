"""The symbols that a trader trades, each with its strategy, as the settings name them."""

from msgspec import Struct

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import SeriesKey
from onetape.core.errors import UsageError, name_settings
from onetape.core.folders import USER_FOLDER
from onetape.core.symbols import parse_spot_symbol, split_symbol
from onetape.core.timeframes import Timeframe
from onetape.strategies.registry import read_stated_settings
from trader.settings import TraderSettings


class TradedSymbol(Struct, frozen=True):
    """A series and the strategy that trades it."""

    key: SeriesKey
    """Exchange, symbol and timeframe."""
    strategy: StrategySettings
    """Name and parameters of the strategy."""


def parse_traded_symbols(settings: TraderSettings) -> list[TradedSymbol]:
    """Return the symbols of a trader's settings, in the order of entries at one moment.

    There is at least one.

    Raises:
        UsageError: a symbol or timeframe that cannot be read, a symbol twice, or symbols that are
            paid in different currencies.
    """
    with name_settings("timeframe"):
        timeframe = Timeframe.parse(settings.timeframe).name
    if settings.symbols:
        setting = "symbols"
        given = [(one.symbol, one.strategy or settings.strategy) for one in settings.symbols]
    else:
        setting = "symbol"
        given = [(name, settings.strategy) for name in settings.symbol.split(",")]
    found: dict[str, TradedSymbol] = {}
    for name, strategy in given:
        with name_settings(setting):
            symbol = parse_spot_symbol(name.strip())
        if symbol in found:
            raise UsageError(
                f"{symbol} is given twice; a trader trades each symbol once: leave one out",
                setting=setting,
            )
        found[symbol] = TradedSymbol(SeriesKey(settings.exchange, symbol, timeframe), strategy)
    _check_one_quote(list(found), setting)
    return list(found.values())


def check_own_strategies(settings: TraderSettings) -> None:
    """Refuse a freqtrade file for one symbol of `symbols`: its stops hold for the whole account.

    Raises:
        UsageError: the strategy of a symbol is such a file.
        ConfigurationError: the file of a strategy cannot be used.
    """
    for one in settings.symbols:
        own = one.strategy
        if own is not None and read_stated_settings(own.name, USER_FOLDER) is not None:
            raise UsageError(
                f"{one.symbol}: {own.name} is a freqtrade strategy, whose stops and timeframe are "
                "those of the account; name it as strategy.name, in a separate trader",
                setting="symbols",
            )


def _check_one_quote(symbols: list[str], setting: str) -> None:
    quotes = {symbol: split_symbol(symbol)[1] for symbol in symbols}
    other = next((one for one in symbols if quotes[one] != quotes[symbols[0]]), None)
    if other is not None:
        raise UsageError(
            f"{symbols[0]} is paid in {quotes[symbols[0]]} and {other} in {quotes[other]}; an "
            "account has one currency: start one trader for each",
            setting=setting,
        )
