"""A round trip: one buy and the sell that ended it."""

from dataclasses import dataclass

from onetape.core.candles import Candles
from onetape.engine.fills import Fill


@dataclass(frozen=True, slots=True)
class Trade:
    """One position from entry to exit; prices and money in quote currency."""

    entry_index: int
    """Candle at whose open the buy was filled; its signal came on the one before."""
    entry_timestamp: int
    """That candle's open, epoch seconds UTC."""
    entry_price: float
    """Slippage included."""
    exit_index: int | None
    """Candle at whose open the sell was filled; None: open at the end."""
    exit_timestamp: int | None
    """That candle's open, epoch seconds UTC."""
    exit_price: float | None
    """Slippage included."""
    amount: float
    """Base currency bought."""
    entry_fee: float
    """Quote currency; a fee in base currency at the entry's price."""
    exit_fee: float
    """Quote currency; 0 while open."""
    profit: float
    """What came back less what was paid, fees included; at the last close while open."""
    profit_ratio: float
    """`profit` divided by what was paid; 0.05 is 5 %."""
    bars_held: int
    """Candles at whose close the position was open."""
    open_at_end: bool
    """Whether the range ended before the position did."""


def trade_of(candles: Candles, entry: tuple[int, Fill], leave: tuple[int, Fill] | None) -> Trade:
    """Return the trade of a buy and its sell (index of the filling candle, fill).

    Args:
        candles: What the indices count.
        entry: The buy.
        leave: The sell; None: still open, valued at the last close without a fee.
    """
    entry_index, buy = entry
    paid = -buy.cash_change
    if leave is None:
        back = buy.base_change * float(candles.close[-1])
        held = len(candles) - entry_index
    else:
        back = leave[1].cash_change
        held = leave[0] - entry_index
    return Trade(
        entry_index=entry_index,
        entry_timestamp=int(candles.timestamp[entry_index]),
        entry_price=buy.price,
        exit_index=None if leave is None else leave[0],
        exit_timestamp=None if leave is None else int(candles.timestamp[leave[0]]),
        exit_price=None if leave is None else leave[1].price,
        amount=buy.amount,
        entry_fee=buy.fee_quote,
        exit_fee=0.0 if leave is None else leave[1].fee_quote,
        profit=back - paid,
        profit_ratio=back / paid - 1.0,
        bars_held=held,
        open_at_end=leave is None,
    )
