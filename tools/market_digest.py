"""A digest of the simulator's market, which is the same on every machine and Python version."""

import hashlib
import platform

import numpy as np

from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.simulated_market import SimulatedMarket

#: Digest of seed 7. It changes only when the market is changed on purpose, for all seeds.
GOLDEN = "56ce93f798f637cb"
_DAY = 86_400
_SPANS = (("1m", 7_200), ("1h", 3 * _DAY), ("1d", 40 * _DAY), ("1M", 99 * _DAY))


def compute_digest(market: SimulatedMarket) -> str:
    """Return a hash of bars of several lengths, and of trades, of every market of the list."""
    total = hashlib.sha256()
    for symbol in market.symbols:
        opened = symbol.listed + 90 * _DAY
        for timeframe, span in _SPANS:
            bars = market.get_bars(symbol, TIMEFRAMES[timeframe], opened, opened + span)
            for column in bars.get_columns():
                total.update(column.astype("<i8").tobytes())
        trades = market.get_trades(symbol, opened - opened % 60)
        for column in (trades.id, trades.time_ms, trades.price, trades.amount, trades.buys):
            total.update(column.astype("<i8").tobytes())
    return total.hexdigest()[:16]


def main() -> None:
    """Print the hash of seed 7, and the versions that computed it."""
    print(
        compute_digest(SimulatedMarket(7)),
        f"Python {platform.python_version()}, NumPy {np.__version__}",
    )


if __name__ == "__main__":
    main()
