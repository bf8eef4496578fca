"""Slips in settings that need no tape to show: told at once, and where they come from."""

import msgspec

from backtester.load import wanted_range
from backtester.run import account_rules, series_key, symbols_of
from backtester.settings import BacktesterSettings
from onetape.cli.settings import USER_FOLDER
from onetape.core.errors import UsageError
from onetape.core.steps import IDEAL_MARKET
from onetape.core.words import did_you_mean
from onetape.engine import Rules
from onetape.strategies.registry import check_choice

MARKETS = ("exchange", "ideal")


def check_settings(settings: BacktesterSettings) -> None:
    """Look at all but a strategy's parameters, which a search takes in another form.

    Raises:
        UsageError: a setting cannot be used.
    """
    if settings.market not in MARKETS:
        hint = did_you_mean(settings.market, MARKETS)
        raise UsageError(
            f"market must be one of {', '.join(MARKETS)}, found {settings.market!r}{hint}"
        )
    _check_symbols(settings)
    wanted_range(settings)
    if settings.detail_timeframe is not None:
        from backtester.detail import finer_timeframe

        finer_timeframe(settings)
    places = settings.max_open_trades
    if places is not None and places < 1:
        raise UsageError(f"--max-open-trades must be 1 or more, found {places}")
    check_choice(settings.strategy.name, None, USER_FOLDER)
    Rules(**account_rules(settings), steps=IDEAL_MARKET)


def check_with_parameters(settings: BacktesterSettings) -> None:
    """Look at the parameters too, unless only the user's own file can tell what they may be.

    Raises:
        UsageError: as `check_settings`.
    """
    check_settings(settings)
    check_choice(settings.strategy.name, settings.strategy.parameters, USER_FOLDER)


def _check_symbols(settings: BacktesterSettings) -> None:
    symbols = symbols_of(settings)
    if len(symbols) < 2:
        series_key(settings)
        return
    from backtester.together import checked_symbols

    checked_symbols(settings)
    for symbol in symbols:
        series_key(msgspec.structs.replace(settings, symbol=symbol))
