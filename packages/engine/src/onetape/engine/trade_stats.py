"""Sums over the fills and trades of a run, computed from columns; `metrics.py` uses them."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
from onetape.engine.simulation_result import SimulationResult


class TradeStats(Struct, frozen=True):
    """Sums over fills and closed trades; money in quote currency."""

    profits: FloatArray
    """Profit of each closed trade, fees included, shape (m,)."""
    ratios: FloatArray
    """Profit of each closed trade divided by its cost, shape (m,)."""
    bars: int
    """Sum of the numbers of candles that the closed trades were held for."""
    fees: float
    """Fees of all fills, quote currency."""
    traded: float
    """Value of all fills, quote currency."""
    slippage: float
    """Cost of slippage of all fills, quote currency."""
    open_positions: int
    """Number of positions that are open at the end."""
    refused: int
    """Number of refused orders."""
    ambiguous: int
    """Number of bars whose exit is ambiguous."""
    decided: int
    """Number of bars that intrabar candles decided."""
    waited: int
    """Number of orders that waited for a candle with a trade and were filled."""
    limited: int
    """Number of entries that `max_volume_share` made smaller."""


def sum_trade_stats(results: Sequence[SimulationResult]) -> TradeStats:
    """Return the sums of runs that share an account, or of one run."""
    tallies = [_compute_trade_stats(result) for result in results]
    return TradeStats(
        profits=np.concatenate([one.profits for one in tallies]),
        ratios=np.concatenate([one.ratios for one in tallies]),
        bars=sum(one.bars for one in tallies),
        fees=sum(one.fees for one in tallies),
        traded=sum(one.traded for one in tallies),
        slippage=sum(one.slippage for one in tallies),
        open_positions=sum(one.open_positions for one in tallies),
        refused=sum(one.refused for one in tallies),
        ambiguous=sum(one.ambiguous for one in tallies),
        decided=sum(one.decided for one in tallies),
        waited=sum(one.waited for one in tallies),
        limited=sum(one.limited for one in tallies),
    )


def _compute_trade_stats(result: SimulationResult) -> TradeStats:
    """Return the sums over fills and trades of one symbol."""
    fill_log = result.fill_log
    numbers = fill_log.get_fill_values()
    profits, ratios = _compute_closed_profits(result, numbers)
    exits = fill_log.get_exit_column()
    missed = np.abs(numbers[:, 0] - fill_log.get_price_column())
    return TradeStats(
        profits=profits,
        ratios=ratios,
        bars=int(exits.sum() - fill_log.get_entry_column()[: len(exits)].sum()),
        fees=_sum_fees(result, numbers),
        traded=float(numbers[:, 2].sum()),
        slippage=float((missed * numbers[:, 1]).sum()),
        open_positions=int(result.is_open_at_end),
        refused=len(fill_log.refused),
        ambiguous=fill_log.ambiguous,
        decided=fill_log.decided,
        waited=len(fill_log.waited),
        limited=fill_log.limited,
    )


def _compute_closed_profits(
    result: SimulationResult, numbers: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return profit and profit ratio of each closed trade, without making the trades."""
    change, carried = numbers[:, 4], result.fill_log.carried
    if carried is not None:
        change = np.append(carried.fill.cash_change, change)
    back = change[1::2]
    paid = -change[0::2][: len(back)]
    return back - paid, back / paid - 1.0


def _sum_fees(result: SimulationResult, numbers: FloatArray) -> float:
    fees = numbers[:, 3].copy()
    if result.rules.fee_currency == "base":
        # A buy's fee is in base currency; if the range began with a position, fill 0 is a sell.
        buys = slice(0 if result.fill_log.carried is None else 1, None, 2)
        fees[buys] *= numbers[buys, 0]
    return float(fees.sum())
