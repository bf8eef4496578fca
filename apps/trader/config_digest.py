"""The digest of what a drill tries: symbols, strategies with their code, sizes, costs and exits."""

import hashlib
import json
from typing import Final

import msgspec

from onetape.core.folders import USER_FOLDER
from onetape.strategies.registry import strategy_file
from trader.settings import TraderSettings
from trader.settings_reload import session_rules
from trader.traded_symbols import traded_symbols

#: Settings of `session_rules` that no drill tries.
_NOT_TRIED: Final = ("trading_hours", "trading_days", "trading_timezone")


def config_digest(settings: TraderSettings) -> str:
    """Return the digest of the settings that a drill tries; equal ones need no second drill.

    Exchange, account, money, limits, trading hours, files and monitoring are no part of it: they
    may differ between the drill and the account that is traded.

    Raises:
        UsageError: a symbol or timeframe that cannot be read.
    """
    series = [
        (
            one.key.symbol,
            one.key.timeframe,
            one.strategy.name,
            dict(one.strategy.parameters),
            _code_digest(one.strategy.name),
        )
        for one in traded_symbols(settings)
    ]
    stored = session_rules(settings)
    rules = {name: value for name, value in stored.items() if name not in _NOT_TRIED}
    tried = [series, rules, settings.stop_limit]
    document = msgspec.to_builtins(tried, str_keys=True)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _code_digest(strategy: str) -> str:
    """Return the digest of a user's strategy file; empty for a built-in one, or without a file."""
    file = strategy_file(strategy, USER_FOLDER)
    try:
        return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        # The error of loading the strategy names what is wrong with its file.
        return ""
