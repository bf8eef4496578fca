"""Input and output of `stepper.step`: events of market, strategy and orders, and order intents.

For each symbol the events of one candle come in this order: `CandlesOpened` (left out where nothing
was traded in the candle), any number of `CandleForming`, and `CandleClosed`. The `StrategySignal`
on it comes after its close, and may come late or not at all: in the meantime later candles may
open and close.
"""

from typing import Literal

from msgspec import Struct

from onetape.core.candles import Candle
from onetape.core.strategy_levels import LevelRow
from onetape.engine.exits import ExitKind
from onetape.engine.guard_log import ClosedTrade

#: Reason why a limit order ended without a fill: a SELL, its last candle, a candle that opened
#: outside the trading hours, or a pause of an entry guard.
LimitEnd = Literal["sell", "expired", "trading_hours", "entry_guard"]


class OpenedCandle(Struct, frozen=True):
    """The first trade of a candle."""

    symbol: str
    timestamp: int
    """Open of the candle, epoch seconds."""
    price: float
    """Price of the candle's first trade, quote currency."""
    price_step: float = 0.0
    """Price step of the market in the candle, quote currency; 0: none."""


class CandlesOpened(Struct, frozen=True, tag=True):
    """The first trades of candles that open at one moment, each of another symbol.

    Exits of all these symbols come before the first entry of one of them.
    """

    candles: tuple[OpenedCandle, ...]
    """The first trade of each candle."""


class CandleForming(Struct, frozen=True, tag=True):
    """The candle of a symbol that has opened, as far as it has formed."""

    symbol: str
    candle: Candle
    """Prices and volume of the candle so far."""
    price_step: float = 0.0
    """Price step of the market in the candle, quote currency; 0: none."""
    is_unwatched: bool = False
    """Whether these prices passed while the market was not watched: then every exit that they allow
    counts, even one that later prices of the candle could change."""


class CandleClosed(Struct, frozen=True, tag=True):
    """A candle of a symbol that has closed, with its final prices.

    A candle that closes without a `CandlesOpened` before had no trade.
    """

    symbol: str
    candle: Candle
    """Final prices and volume of the candle."""
    price_step: float = 0.0
    """Price step of the market in the candle, quote currency; 0: none."""


class StrategySignal(Struct, frozen=True, tag=True):
    """The strategy's signal on a closed candle of a symbol.

    Signals come in the order of their candles; an older candle without a signal gets none.
    """

    symbol: str
    timestamp: int
    """Open of the candle, epoch seconds."""
    signal: int
    """Signal of the strategy: 1 BUY, -1 SELL, 0 HOLD."""
    can_enter: bool = True
    """Whether a BUY on the newest closed candle may become an entry; its run of BUYs goes on either
    way."""
    levels: LevelRow | None = None
    """Stop and target of the strategy on the candle; None: the strategy gives none."""


class ExitDue(Struct, frozen=True, tag=True):
    """A position must be sold at the next trade, without a signal of the newest candle."""

    symbol: str


class ExitSent(Struct, frozen=True, tag=True):
    """A position is being sold by an order that no `Exit` led to, such as one of a person."""

    symbol: str


class LimitSent(Struct, frozen=True, tag=True):
    """The limit order of an `Enter` is open, and its money is reserved."""

    symbol: str


class EntryFilled(Struct, frozen=True, tag=True):
    """The order of an `Enter` has been filled, or that of a `FillLimit`."""

    symbol: str
    price: float
    """Price before slippage, from which stops and targets are measured; quote currency."""


class EntryRefused(Struct, frozen=True, tag=True):
    """The order of an `Enter` or `FillLimit` has ended without a fill: refused or canceled."""

    symbol: str


class ExitFilled(Struct, frozen=True, tag=True):
    """The order that sells the position has been filled."""

    symbol: str
    timestamp: int | None = None
    """Open of the candle that filled the order, epoch seconds; a real exchange may report the fill
    when later candles have opened. None: the candle that is open, or the last closed one."""
    trade: ClosedTrade | None = None
    """The round trip that the fill has ended, for entry guards; None: there are none, or the trade
    becomes part of `StepState.closed` in another way."""


class ExitRefused(Struct, frozen=True, tag=True):
    """The market refused the order that sells the position; from now on only a SELL ends it."""

    symbol: str


StepEvent = (
    CandlesOpened
    | CandleForming
    | CandleClosed
    | StrategySignal
    | ExitDue
    | ExitSent
    | LimitSent
    | EntryFilled
    | EntryRefused
    | ExitFilled
    | ExitRefused
)


class Enter(Struct, frozen=True, tag=True):
    """Buy now, at the market, or send a limit order; the account's rules decide the amount.

    A limit order that is open is reported by `LimitSent`; `FillLimit` or `CancelLimit` ends it.
    """

    symbol: str
    timestamp: int
    """Open of the candle that fills the market order, epoch seconds."""
    price: float
    """Open price of that candle, before slippage; quote currency."""
    limit: float | None = None
    """Price of the limit order, of whole price steps, quote currency; None: a market order."""


class FillLimit(Struct, frozen=True, tag=True):
    """Fill the open limit order to buy; `EntryFilled` reports it."""

    symbol: str
    timestamp: int
    """Open of the candle that fills the order, epoch seconds."""
    price: float
    """Open of that candle, or the limit; before slippage, quote currency."""
    is_inside: bool
    """Whether the order is filled at the limit, and not at an open below it."""


class CancelLimit(Struct, frozen=True, tag=True):
    """Cancel the open limit order to buy, and free its money; no event reports that."""

    symbol: str
    timestamp: int
    """Open of the candle in which the order ends, epoch seconds."""
    reason: LimitEnd


class Exit(Struct, frozen=True, tag=True):
    """Sell the whole position now."""

    symbol: str
    timestamp: int
    """Open of the candle that fills the order, epoch seconds."""
    kind: ExitKind
    """Kind of the exit, such as a stop or a SELL."""
    price: float
    """Price at which the order fills by the rules, before slippage; quote currency."""
    is_ambiguous: bool
    """Whether the candle's prices allow another exit, and this is the one at the worst price."""


#: An order to carry out now.
Intent = Enter | Exit | FillLimit | CancelLimit
