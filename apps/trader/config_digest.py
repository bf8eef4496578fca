"""Digest of the settings that a drill tries: symbols, strategies with code, sizes, costs, exits.

The first live entry of an account needs a passed drill of equal settings; settings with an equal
digest are equal.
"""

import hashlib
import json
from typing import Final

import msgspec

from onetape.core.folders import USER_FOLDER
from onetape.strategies.registry import compute_strategy_file_digest
from trader.settings import TraderSettings
from trader.settings_reload import make_session_rules
from trader.traded_symbols import parse_traded_symbols

#: Settings of `make_session_rules` that are left out of the digest, because no drill tries them.
_NOT_TRIED: Final = (
    *("trading_hours", "trading_days", "trading_timezone", "max_volume_share"),
    # The digest has the fees of the tier.
    "fee_tier",
    *("stoploss_guard", "drawdown_pause", "low_profit_pairs"),
)


def compute_config_digest(settings: TraderSettings) -> str:
    """Return the digest of the settings that a drill tries; an equal digest needs no second drill.

    Exchange, account, money, limits, volume limit, trading hours, entry guards, files and
    monitoring are no part of it: they may differ between the drill and the account that is traded.

    Raises:
        UsageError: a symbol or timeframe that cannot be read.
    """
    series = [
        (
            one.key.symbol,
            one.key.timeframe,
            one.strategy.name,
            dict(one.strategy.parameters),
            compute_strategy_file_digest(one.strategy.name, USER_FOLDER),
        )
        for one in parse_traded_symbols(settings)
    ]
    stored = make_session_rules(settings)
    rules = {name: value for name, value in stored.items() if name not in _NOT_TRIED}
    tried = [series, rules, settings.stop_limit]
    document = msgspec.to_builtins(tried, str_keys=True)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
