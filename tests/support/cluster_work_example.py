"""Example work for the workers of a cluster, over a few candles."""

import numpy as np

from onetape.backtest.models import CandleWindow
from onetape.core.candles import Candles, SeriesKey
from onetape.engine import AccountConfig
from onetape.optimization.cluster.work_file import ClusterWork
from onetape.optimization.evaluate import SearchContext


def make_cluster_work(factor: float = 1.0) -> ClusterWork:
    """Return work over 500 candles of an hour, whose prices are multiplied by a factor."""
    random = np.random.default_rng(7)
    close = factor * 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, 500)))
    open_ = np.concatenate(([close[0]], close[:-1]))
    timestamp = 1_704_067_200 + 3_600 * np.arange(500)
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    candles = Candles.from_columns(timestamp, open_, high, low, close, np.ones(500))
    start, end = int(timestamp[0]), int(timestamp[-1]) + 3_600
    key = SeriesKey("simulator", "BTC/USDT", "1h")
    window = CandleWindow(key, candles, 0, 0, start, end, 0, 0, None)
    context = SearchContext(window, 350, AccountConfig(), {})
    return ClusterWork("sma_cross", {"fast": 5, "slow": 20}, context, (), (), {"NumPy": "2"})
