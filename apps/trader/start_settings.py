"""Checks a trader's settings before anything is opened or sent."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

from onetape.cli.simulator_address import check_simulator_url
from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.symbols import SIMULATOR_ID
from onetape.strategies.registry import check_choice
from trader.account import check_account_name, choose_account_name
from trader.live.opening import check_live_exchange
from trader.settings import TraderSettings
from trader.traded_symbols import check_own_strategies, parse_traded_symbols


def check_settings(settings: TraderSettings) -> None:
    """Check the settings before anything is opened or sent; live strategies are checked later.

    Raises:
        UsageError: a setting cannot be used.
        ConfigurationError: the file of a strategy cannot be used.
    """
    check_start_settings(settings)
    if settings.mode == "paper":
        check_strategies(settings)


def check_start_settings(settings: TraderSettings) -> None:
    """Check the settings except for strategies: an open position is managed without them too.

    Raises:
        UsageError: a setting cannot be used.
    """
    if settings.mode not in ("paper", "live"):
        raise UsageError(f"mode is 'paper' or 'live', found {settings.mode!r}", setting="mode")
    if settings.mode == "live":
        check_live_exchange(settings.exchange, is_untested_allowed=settings.untested_exchange)
    if settings.sandbox and (settings.mode != "live" or settings.exchange == SIMULATOR_ID):
        raise UsageError(
            "sandbox is the test network of a real exchange, for live orders: add --live, or "
            "leave it out",
            setting="sandbox",
        )
    check_simulator_url(settings.simulator_url)
    check_account_name(settings)
    symbols = parse_traded_symbols(settings)
    choose_account_name(settings, [one.key for one in symbols])


def check_strategies(settings: TraderSettings) -> None:
    """Check the strategies as far as is possible without running a user's file.

    Raises:
        UsageError: there is no such strategy, or the strategy does not take its parameters.
        ConfigurationError: the file of a strategy cannot be used.
    """
    check_own_strategies(settings)
    for one in parse_traded_symbols(settings):
        with _naming_symbol(one.key.symbol) if settings.symbols else nullcontext():
            check_choice(one.strategy.name, one.strategy.parameters, USER_FOLDER)


def find_strategy_fault(settings: TraderSettings) -> OnetapeError | None:
    """Return the error of a strategy in the settings; None: no error is known yet.

    On paper, names and parameters are checked. Live, a strategy is checked when it is loaded.
    """
    try:
        if settings.mode == "paper":
            check_strategies(settings)
        else:
            check_own_strategies(settings)
    except OnetapeError as error:
        return error
    return None


@contextmanager
def _naming_symbol(symbol: str) -> Generator[None]:
    """Add a symbol to the text of an error of the block."""
    try:
        yield
    except OnetapeError as error:
        raise UsageError(f"{symbol}: {error}", setting="symbols") from error
