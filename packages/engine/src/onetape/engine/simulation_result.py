"""Result of a simulation, and the account state that the next range starts with."""

from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.exits import ExitKind
from onetape.engine.fill_log import FillLog, OpenPosition
from onetape.engine.fills import ModelFill
from onetape.engine.refused_orders import RefusedOrder
from onetape.engine.round_trips import Trade, TradeEntry, TradeExit, make_trade

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow
    from onetape.engine.guard_log import ClosedTrade, EntryPause
    from onetape.engine.known_levels import KnownLevels


class AccountState(Struct, frozen=True):
    """State of an account after a range, from which a run over the next range continues."""

    cash: float
    """Cash of the account, quote currency."""
    base: float
    """Base currency held: a position, or dust."""
    signal: int
    """Signal of the last candle, whose order is due at the next open."""
    wait_bars: int
    """Number of next candles at whose opens no BUY is due: the rest of a cooldown."""
    waiting: int
    """Order that waits for a candle with a trade: 1 BUY, -1 SELL of the position, 0 none."""
    is_used: bool
    """Whether the run of BUYs that was due at the last open has led to an entry."""
    position: OpenPosition | None
    """Open position of the account; None: no position."""
    closed: "tuple[ClosedTrade, ...]" = ()
    """Closed trades that entry guards still use; empty without entry guards."""
    levels: "LevelRow | None" = None
    """Levels of the strategy for an entry at the next open; None: none."""


class SimulationResult(Struct, frozen=True, dict=True):
    """Result of a run; arrays have shape (m,), one entry per candle from `start_index` on."""

    rules: AccountConfig
    """Account settings of the run."""
    candles: Candles
    """The candles traded: those from `start_index` on."""
    start_index: int
    """Number of warm-up candles that were left out of `candles`."""
    start_cash: float
    """Value of the account before the first candle, quote currency."""
    equity: FloatArray
    """Cash and position at each close, quote currency."""
    cash: float
    """Cash at the end, quote currency."""
    base: float
    """Base currency held at the end: an open position, or dust that could not be sold."""
    fill_log: FillLog
    """Fills of the run, as numbers."""
    state: AccountState
    """State of the account after the last candle."""
    untraded: NDArray[np.bool_] | None = None
    """Whether each of `candles` has no trade, shape (n,); None: each has trades."""
    symbol: str = ""
    """Symbol of these trades in a run over several symbols; otherwise empty."""
    pauses: "tuple[EntryPause, ...]" = ()
    """Times in which an entry guard let nothing enter, by the order of their exits."""
    levels: "KnownLevels | None" = None
    """Levels of the strategy; None: the strategy gives none."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Return the candle that filled each of `fills`, in time order."""
        return tuple(self.fill_log.indices)

    @cached_property
    def fills(self) -> tuple[ModelFill, ...]:
        """Return the fills: a buy and a sell in turn, beginning with a buy.

        If the range began with a position, its buy is not included, and the first fill is a sell.
        """
        return self.fill_log.make_fills()

    @property
    def refused(self) -> tuple[tuple[int, RefusedOrder], ...]:
        """Return the orders that account or market refused, with their candle."""
        return tuple(self.fill_log.refused)

    @property
    def has_levels(self) -> bool:
        """Return whether the inside of a candle can end a position."""
        return self.levels is not None or self.rules.exits.has_levels

    @property
    def exit_kinds(self) -> tuple[ExitKind, ...]:
        """Return the exit kind of each sell."""
        return self.fill_log.kinds

    @property
    def buys(self) -> tuple[ModelFill, ...]:
        """Return the fills that opened a position, one that was carried in included."""
        carried = self.fill_log.carried
        return self.fills[0::2] if carried is None else (carried.fill, *self.fills[1::2])

    @property
    def sells(self) -> tuple[ModelFill, ...]:
        """Return the fills that ended a position: the k-th sell ends the k-th buy."""
        return self.fills[1::2] if self.fill_log.carried is None else self.fills[0::2]

    @property
    def is_open_at_end(self) -> bool:
        """Return whether the range ended before the last position did."""
        return (
            len(self.fill_log.get_index_column()) + (self.fill_log.carried is not None)
        ) % 2 == 1

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Return the round trips in time order; the last may be open at the end."""
        times = self.candles.timestamp
        bars = self.fill_log.get_entry_bars()
        exits = [
            TradeExit(bar, int(times[bar]), fill, kind)
            for bar, fill, kind in zip(
                self.fill_log.get_exit_bars(), self.sells, self.exit_kinds, strict=True
            )
        ]
        carried = self.fill_log.carried
        entries = [
            TradeEntry(bar, carried.timestamp if carried and bar < 0 else int(times[bar]), fill)
            for bar, fill in zip(bars, self.buys, strict=True)
        ]
        return tuple(
            make_trade(self.candles, entry, exit_, self.symbol)
            for entry, exit_ in zip_longest(entries, exits)
        )

    @property
    def final_equity(self) -> float:
        """Return cash and position at the last close, quote currency."""
        return float(self.equity[-1]) if len(self.equity) else self.start_cash

    @property
    def exposure(self) -> float:
        """Return the fraction of the candles at whose close a position was open, 0 to 1."""
        if not len(self.candles):
            return 0.0
        ends = int(self.fill_log.get_exit_column().sum())
        ends += len(self.candles) if self.is_open_at_end else 0
        starts = int(self.fill_log.get_entry_column().clip(0).sum())
        return (ends - starts) / len(self.candles)
