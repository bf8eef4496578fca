"""`Trade`, a round trip: the buy that opened a position and the sell that ended it."""

from typing import NamedTuple

from msgspec import Struct

from onetape.core.candles import Candles
from onetape.engine.exits import ExitKind
from onetape.engine.fills import ModelFill


class TradeEntry(NamedTuple):
    """The buy of a trade."""

    bar: int
    """Index of the candle whose open filled the entry."""
    timestamp: int
    """Open of the candle that filled the entry, epoch seconds UTC."""
    fill: ModelFill
    """Fill of the buy."""


class TradeExit(NamedTuple):
    """The sell of a trade."""

    bar: int
    """Index of the candle that filled the exit."""
    timestamp: int
    """Open of the candle that filled the exit, epoch seconds UTC."""
    fill: ModelFill
    """Fill of the sell."""
    kind: ExitKind
    """Kind of the exit, such as a stop or a SELL."""


class Trade(Struct, frozen=True):
    """One position from entry to exit; prices and money in quote currency."""

    entry_index: int
    """Index of the candle at whose open the buy was filled.

    Negative where an earlier range opened the position.
    """
    entry_timestamp: int
    """Open of the candle that filled the entry, epoch seconds UTC."""
    entry_price: float
    """Price of the entry, slippage included, quote currency."""
    exit_index: int | None
    """Index of the candle that filled the sell, at its open or inside; None: open at the end."""
    exit_timestamp: int | None
    """Open time of the candle that filled the sell, epoch seconds UTC; None: open at the end."""
    exit_price: float | None
    """Price of the exit, slippage included, quote currency; None: open at the end."""
    amount: float
    """Base currency that the buy filled, before a fee in base currency."""
    entry_fee: float
    """Fee of the entry, quote currency; a fee in base currency counts at the entry's price."""
    exit_fee: float
    """Fee of the exit, quote currency; 0 while open."""
    profit: float
    """Proceeds less cost, fees included; at the last close while the trade is open."""
    profit_ratio: float
    """`profit` divided by what was paid; 0.05 is 5 %."""
    bars_held: int
    """Number of candles at whose close the position was open."""
    open_at_end: bool
    """Whether the range ended before the position did."""
    exit_kind: ExitKind | None
    """Kind of the exit; None while open."""
    symbol: str
    """Symbol of the trade in a run over several symbols; otherwise empty."""


def make_trade(
    candles: Candles, entry: TradeEntry, exit_: TradeExit | None, symbol: str = ""
) -> Trade:
    """Return the trade of a buy and its sell.

    Args:
        candles: Candles that the bars are indices of.
        entry: The buy.
        exit_: The sell; None: the position is open, and valued at the last close without a fee.
        symbol: Symbol of the trade, in a run over several.
    """
    buy = entry.fill
    paid = -buy.cash_change
    if exit_ is None:
        price = float(candles.close[-1]) if len(candles) else buy.before_slippage
        back = buy.base_change * price
        held = len(candles) - entry.bar
    else:
        back = exit_.fill.cash_change
        held = exit_.bar - entry.bar
    return Trade(
        entry_index=entry.bar,
        entry_timestamp=entry.timestamp,
        entry_price=buy.price,
        exit_index=None if exit_ is None else exit_.bar,
        exit_timestamp=None if exit_ is None else exit_.timestamp,
        exit_price=None if exit_ is None else exit_.fill.price,
        amount=buy.amount,
        entry_fee=buy.fee_quote,
        exit_fee=0.0 if exit_ is None else exit_.fill.fee_quote,
        profit=back - paid,
        profit_ratio=back / paid - 1.0,
        bars_held=held,
        open_at_end=exit_ is None,
        exit_kind=None if exit_ is None else exit_.kind,
        symbol=symbol,
    )
