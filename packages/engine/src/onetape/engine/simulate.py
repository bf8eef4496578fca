"""Trade the signals of a strategy over stored candles. Python runs per trade, never per bar."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.fills import Fill, FillModel, Refused
from onetape.engine.rules import Rules
from onetape.engine.trades import Trade, trade_of


@dataclass(frozen=True)
class Result:
    """What a run did; arrays have shape (m,), one entry per candle from `start_index` on."""

    rules: Rules
    """What the run assumed."""
    candles: Candles
    """The candles traded: those from `start_index` on."""
    start_index: int
    """Warm-up candles left out; indices of trades count from there."""
    equity: FloatArray
    """Cash and position at each close, quote currency."""
    cash: float
    """Quote currency left at the end."""
    base: float
    """Base currency held at the end: an open position, or dust that could not be sold."""
    buys: tuple[tuple[int, Fill], ...]
    """Index of the filling candle and the fill, in time order."""
    sells: tuple[tuple[int, Fill], ...]
    """The k-th sell ends the k-th buy; one fewer where a position is open at the end."""
    refused: tuple[tuple[int, Refused], ...]
    """Orders that the market's minimums kept from being filled, with the candle's index."""

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Return the round trips in time order; the last may be open at the end."""
        exits: list[tuple[int, Fill] | None] = [*self.sells]
        exits += [None] * (len(self.buys) - len(self.sells))
        return tuple(
            trade_of(self.candles, entry, leave)
            for entry, leave in zip(self.buys, exits, strict=True)
        )

    @property
    def final_equity(self) -> float:
        """Return cash and position at the last close, quote currency."""
        return float(self.equity[-1]) if len(self.equity) else self.rules.cash

    @property
    def exposure(self) -> float:
        """Return the part of the candles at whose close a position was open, 0 to 1."""
        if not len(self.candles):
            return 0.0
        starts = sum(index for index, _ in self.buys)
        ends = sum(index for index, _ in self.sells)
        if len(self.buys) > len(self.sells):
            ends += len(self.candles)
        return (ends - starts) / len(self.candles)


def simulate(
    candles: Candles, signal: NDArray[np.int8], rules: Rules, start_index: int = 0
) -> Result:
    """Trade a strategy's signals: known at the close of bar t, filled at the open of bar t + 1.

    BUY while long and SELL while flat do nothing; a signal on the last bar fills nothing; nothing
    is closed by force at the end. The next bar is the next one stored, across a gap too. An order
    that the market's minimums refuse is tried again on the next bar with the same signal.

    Args:
        candles: Closed candles, oldest first, warm-up included; prices above zero.
        signal: 1 BUY, -1 SELL, 0 HOLD, shape (n,).
        rules: Money, fees and market.
        start_index: First candle that is traded: what was signalled before it is not.

    Raises:
        ValueError: signals and candles differ in length, or start_index is outside them.
    """
    if len(signal) != len(candles) or not 0 <= start_index <= len(candles):
        raise ValueError(
            f"{len(signal)} signals and start_index {start_index} do not fit {len(candles)} candles"
        )
    traded = candles[start_index:]
    run = _Run(traded, rules)
    run.trade(signal[start_index:])
    return Result(
        rules=rules,
        candles=traded,
        start_index=start_index,
        equity=run.equity(),
        cash=run.cash,
        base=run.base,
        buys=tuple(run.buys),
        sells=tuple(run.sells),
        refused=tuple(run.refused),
    )


class _Run:
    """The account while the signals are gone through."""

    def __init__(self, candles: Candles, rules: Rules) -> None:
        self.candles = candles
        self.model = FillModel.of(rules)
        self.cash = rules.cash
        self.base = 0.0
        self.buys: list[tuple[int, Fill]] = []
        self.sells: list[tuple[int, Fill]] = []
        self.refused: list[tuple[int, Refused]] = []
        # The account after each fill, for the equity curve; first before any.
        self._indices = [0]
        self._cash = [self.cash]
        self._base = [0.0]

    def trade(self, signal: NDArray[np.int8]) -> None:
        """Fill what the signals ask for."""
        # The last bar's signal has no next open.
        events = np.flatnonzero(signal[:-1])
        if not len(events):
            return
        sides = signal[events]
        # Where one side is signalled many bars in a row, only the first can change the position.
        firsts = np.flatnonzero(np.diff(sides, prepend=-sides[:1]))
        bounds = [*firsts.tolist(), len(events)]
        filled_at = events[firsts] + 1
        for run, (is_buy, index, open_price) in enumerate(
            zip(
                (sides[firsts] > 0).tolist(),
                filled_at.tolist(),
                self.candles.open[filled_at].tolist(),
                strict=True,
            )
        ):
            is_long = len(self.buys) > len(self.sells)
            if is_buy != is_long and not self._fill(index, open_price, is_buy=is_buy):
                self._retry(events[bounds[run] + 1 : bounds[run + 1]] + 1, is_buy=is_buy)

    def equity(self) -> FloatArray:
        """Return cash and position at each close."""
        lengths = np.diff(np.asarray([*self._indices, len(self.candles)]))
        worth = np.repeat(self._base, lengths)
        worth *= self.candles.close
        worth += np.repeat(self._cash, lengths)
        return worth

    def _retry(self, indices: IntArray, *, is_buy: bool) -> None:
        for index in indices.tolist():
            if self._fill(index, float(self.candles.open[index]), is_buy=is_buy):
                return

    def _fill(self, index: int, open_price: float, *, is_buy: bool) -> bool:
        if is_buy:
            fill = self.model.buy(self.cash, open_price)
        else:
            fill = self.model.sell(self.base, open_price)
        if isinstance(fill, Refused):
            self.refused.append((index, fill))
            return False
        (self.buys if is_buy else self.sells).append((index, fill))
        self.cash += fill.cash_change
        self.base += fill.base_change
        self._indices.append(index)
        self._cash.append(self.cash)
        self._base.append(self.base)
        return True
