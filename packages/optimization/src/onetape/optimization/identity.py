"""Identity of an optimization: all inputs of its results except the parameters.

Stored results are used again only if the identity is equal; the folder is named by its digest.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

import onetape.core
import onetape.engine
from onetape.backtest.intrabar_candles import compute_intrabar_identity
from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles, SeriesKey
from onetape.core.digest import compute_code_digest, compute_data_digest
from onetape.core.timeframes import Timeframe
from onetape.optimization import (
    account_parameters,
    details,
    evaluate,
    guard_parameters,
    user_metrics,
)
from onetape.optimization.evaluate import SearchContext
from onetape.store.candles import read_last_closed
from onetape.store.database import Store
from onetape.store.gaps import find_unexplained
from onetape.strategies import Strategy, compute_strategy_digest
from onetape.strategies.registry import MAX_LOOKBACK

#: Key of the risk-free rate in an identity; absent where it is 0.
RISK_FREE_RATE: Final = "risk_free_rate"


def make_identity(
    store: Store, key: SeriesKey, strategy: Strategy, context: SearchContext
) -> dict[str, Any]:
    """Return all inputs of a combination's result, except its parameters, as a JSON document.

    The candles before the range are those of the longest allowed lookback, independent of the
    combinations, so that an optimization with other combinations continues in the same folder.
    """
    window = context.window
    before = read_last_closed(store, key, MAX_LOOKBACK, up_to=window.start - 1)
    return {
        "strategy": strategy.name,
        "exchange": key.exchange,
        "symbol": key.symbol,
        "timeframe": key.timeframe,
        "from": window.start,
        "split": context.split,
        "to": window.end,
        "data_digest": compute_data_digest(window.candles[window.warm_up :]),
        "warm_up_digest": compute_data_digest(before),
        "gaps": _collect_unexplained_gaps(store, key, before, context),
        "higher": {
            name: compute_data_digest(higher_candles)
            for name, higher_candles in sorted(context.higher.items())
        },
        "intrabar": compute_intrabar_identity(context.intrabar, window),
        "rules": repr(context.rules),
        "strategy_digest": compute_strategy_digest(strategy),
        "engine_digest": compute_engine_digest(),
        **({RISK_FREE_RATE: context.risk_free_rate} if context.risk_free_rate else {}),
    }


def _collect_unexplained_gaps(
    store: Store, key: SeriesKey, before: Candles, context: SearchContext
) -> dict[str, Any]:
    """Return the unexplained gaps that no window crosses, by timeframe."""
    inside = context.window.candles[context.window.warm_up :]
    times = np.concatenate((before.timestamp, inside.timestamp))
    gaps = find_gaps(times, Timeframe.parse(key.timeframe), int(times[0]), int(times[-1]))
    inputs = {name: one.ranges for name, one in context.gaps.higher.items()}
    return {**inputs, key.timeframe: find_unexplained(store, key, gaps)}


def compute_engine_digest() -> str:
    """Return the digest of the engine's code, which computes fills, money and metrics."""
    return compute_code_digest(
        Path(onetape.core.__path__[0]),
        Path(onetape.engine.__path__[0]),
        Path(account_parameters.__file__),
        Path(guard_parameters.__file__),
        Path(evaluate.__file__),
        Path(details.__file__),
        Path(user_metrics.__file__),
    )
