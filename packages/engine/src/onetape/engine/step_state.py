"""State of the trading rules between two events (stepper.py).

The state has no money: the amount of an order is computed when it fills, from the account's fills.
The state can be stored (msgspec) and rebuilt from stored facts (step_restore.py).
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from onetape.core.candles import Candle
from onetape.core.strategy_levels import LevelRow, update_levels
from onetape.engine.account_config import AccountConfig, Reentry
from onetape.engine.entry_guards import EntryGuard
from onetape.engine.entry_hours import EntryHours
from onetape.engine.exit_config import ExitConfig
from onetape.engine.guard_log import (
    ClosedTrade,
    EntryPause,
    GuardLog,
    drop_old_trades,
    make_sort_key,
)
from onetape.engine.step_events import OpenedCandle

#: Maximum number of closed candles that wait for a signal; older ones get none.
MAX_UNDECIDED: Final = 1_000
#: Reasons why a BUY may not enter: the cooldown, or an earlier entry of its run of BUYs.
EntryObstacle = Literal["cooldown", "run_used"]


class StepRules(Struct, frozen=True):
    """The settings of an account that decide when orders are due."""

    symbols: tuple[str, ...]
    """Symbols in the order that decides between entries at one moment."""
    max_open_trades: int
    """Maximum number of open positions."""
    exits: ExitConfig
    """Stops, targets and the time stop."""
    cooldown_bars: int
    """Number of candles after an exit in which nothing is bought."""
    reentry: Reentry
    """Whether a run of BUYs may lead to more than one entry."""
    entry_hours: EntryHours | None = None
    """Hours and weekdays in which entries are made; None: at any time."""
    entry_guards: tuple[EntryGuard, ...] = ()
    """Rules that pause entries after losses."""
    candle_seconds: int = 0
    """Length of a candle, in which entry guards count; 0 without entry guards."""

    @classmethod
    def from_account(
        cls,
        account: AccountConfig,
        symbols: Sequence[str],
        max_open_trades: int | None = None,
        *,
        candle_seconds: int = 0,
    ) -> "StepRules":
        """Return the rules of an account.

        Args:
            account: Settings of the account.
            symbols: Symbols in the order that decides between entries at one moment.
            max_open_trades: Positions at a time; None: as many as symbols.
            candle_seconds: Length of a candle, in which entry guards count
                (`Timeframe.average_seconds`); 0 where the account has none.

        Raises:
            ValueError: the account has entry guards, and the length of a candle is not given.
        """
        if account.entry_guards and candle_seconds < 1:
            msg = "entry guards need the length of a candle"
            raise ValueError(msg)
        return cls(
            symbols=tuple(symbols),
            max_open_trades=max_open_trades or len(symbols),
            exits=account.exits,
            cooldown_bars=account.cooldown_bars,
            reentry=account.reentry,
            entry_hours=account.entry_hours,
            entry_guards=account.entry_guards,
            candle_seconds=candle_seconds,
        )

    def allows_entry(self, timestamp: int) -> bool:
        """Return whether the trading hours allow an entry in a candle.

        Args:
            timestamp: Open of the candle, epoch seconds.
        """
        return self.entry_hours is None or self.entry_hours.contains(timestamp)


class HeldPosition(Struct, frozen=True):
    """A position with the values that its stop and target depend on."""

    entry_price: float
    """Price of the entry before slippage, quote currency."""
    highest: float
    """Highest of the entry price and the highs of candles closed since, quote currency."""
    candle: int
    """Number of the candle that filled the entry."""
    has_levels: bool = True
    """Whether stops, targets and the time stop count: not after an exit that was refused."""
    levels: LevelRow | None = None
    """Levels of the strategy that are in force; None: none."""
    is_inside: bool = False
    """Whether the entry was filled at its limit inside the candle, whose high may be before it."""

    def is_filled_inside(self, candle: int) -> bool:
        """Return whether the entry was filled inside the candle with this number."""
        return self.is_inside and self.candle == candle

    def add_candle(self, candle: Candle, number: int) -> "HeldPosition":
        """Return the position after the close of a candle with this number."""
        price = candle.close if self.is_filled_inside(number) else candle.high
        return replace(self, highest=max(self.highest, price))


class OpenLimit(Struct, frozen=True):
    """A limit order to buy that is due, in flight or open."""

    price: float
    """Price of the order, quote currency."""
    last: int
    """Number of the last candle in which the order may be filled."""
    run: int | None = None
    """`run_start` of the run of BUYs that the order uses up once it is filled."""
    levels: LevelRow | None = None
    """Levels of the strategy for the position that the order opens; None: none."""


class OrderInFlight(Struct, frozen=True):
    """An order that has been neither filled nor refused yet."""

    side: Literal["buy", "sell"]
    candle: int
    """Number of the candle that was open, or had closed last, when the order was made."""
    run: int | None = None
    """`run_start` of the run of BUYs that this entry uses up; None for a sell."""
    inside: int | None = None
    """Open (epoch seconds) of the candle inside which the order sells; None: at an open."""
    levels: LevelRow | None = None
    """Levels of the strategy for the position that a buy opens; None: none."""
    limit: OpenLimit | None = None
    """The limit order that a buy sends; None: the order fills, or ends, at once."""
    is_filled_inside: bool = False
    """Whether the buy is filled at its limit inside its candle."""
    closed: Candle | None = None
    """The candle in which a buy is filled at its limit, if it has closed; otherwise None."""
    price_step: float = 0.0
    """Price step of the market in `closed`, quote currency; 0: none."""


class SymbolStepState(Struct, frozen=True):
    """State of the trading rules of one symbol. Candles are numbered from 0 in order of time."""

    candles: int = 0
    """Number of closed candles, which is the number of the candle that is open or comes next."""
    closed: int | None = None
    """Open of the newest closed candle, epoch seconds; None: no candle has closed."""
    opened: OpenedCandle | None = None
    """The forming candle, once it has a trade; None: no forming candle has traded."""
    undecided: tuple[int, ...] = ()
    """Opens of the newest closed candles, without a signal yet; oldest first, epoch seconds."""
    undecided_closes: tuple[float, ...] = ()
    """Close of each candle of `undecided`, quote currency."""
    position: HeldPosition | None = None
    """Open position; None: no position."""
    order: OrderInFlight | None = None
    """Order in flight; None: no order."""
    buy_due: bool = False
    """Whether a BUY is due at the next open with a trade."""
    sell_due: bool = False
    """Whether a SELL of the position is due at the next open with a trade."""
    is_slot_awaited: bool = False
    """Whether a BUY that is due in the open candle has not been tried yet: exits come first."""
    free_from: int = 0
    """Number of the first candle at which a BUY may be due after the cooldown."""
    last_buy: int | None = None
    """Number of the newest candle with the signal BUY."""
    run_start: int | None = None
    """Number of the first candle of the run of BUYs that `last_buy` is part of."""
    used_run: int | None = None
    """`run_start` of the run of BUYs that led to the last entry; None: there was no entry."""
    sold_inside: int | None = None
    """Open (epoch seconds) of the candle inside which the last position was sold; its slot and
    money are available from the next open on. None: it was sold at an open."""
    levels: LevelRow | None = None
    """Levels of the strategy for an entry: those of the newest BUY, updated since; None: none."""
    due_limit: OpenLimit | None = None
    """Limit order of the BUY that is due; None: the BUY is a market order, or none is due."""
    limit: OpenLimit | None = None
    """The limit order to buy that is open; None: none."""
    limit_ended: int | None = None
    """Open (epoch seconds) of the candle in which the last limit order ended without a fill; its
    slot and money are available from the next open on. None: no order has ended so."""

    @property
    def is_flat(self) -> bool:
        """Return whether there is neither a position nor an order in flight that may open one."""
        return self.position is None and self.order is None

    def is_slot_taken(self, moment: int) -> bool:
        """Return whether the symbol takes a slot from an entry at the open of a candle.

        Args:
            moment: Open of that candle, epoch seconds.
        """
        if not self.is_flat or self.limit is not None:
            return True
        ends = (self.sold_inside, self.limit_ended)
        return any(end is not None and end >= moment for end in ends)

    @property
    def number(self) -> int:
        """Return the number of the candle that is open, or that has closed last."""
        return self.candles if self.opened is not None else self.candles - 1

    def is_before(self, timestamp: int) -> bool:
        """Return whether the newest closed candle opened before this time, epoch seconds."""
        return self.closed is None or self.closed < timestamp

    def count_cooldown_left(self, rules: StepRules) -> int:
        """Return the number of further closed candles in which a BUY may not enter."""
        free_from = self.free_from
        if self.order is not None and self.order.side == "sell":
            free_from = self.order.candle + 1 + rules.cooldown_bars
        return max(0, free_from - self.candles)

    def find_candle_number(self, timestamp: int | None) -> int:
        """Return the number of the candle that holds a moment, as far back as that is known.

        Args:
            timestamp: Open of the candle, epoch seconds; None: the one that is open, or has closed
                last.
        """
        order = self.order
        if timestamp is None or (self.opened is not None and timestamp >= self.opened.timestamp):
            return self.number
        if self.closed is not None and timestamp >= self.closed:
            return self.candles - 1
        return self.number if order is None else order.candle

    def apply_signal(
        self,
        rules: StepRules,
        timestamp: int,
        signal: int,
        *,
        can_enter: bool = True,
        levels: LevelRow | None = None,
    ) -> "SymbolStepState":
        """Return the state after the signal of a candle in `undecided`.

        Args:
            rules: Cooldown and re-entry.
            timestamp: Open of the candle, epoch seconds.
            signal: 1 BUY, -1 SELL, 0 HOLD.
            can_enter: Whether a BUY may enter, if the candle is the newest closed one.
            levels: Stop and target of the strategy on the candle; None: the strategy gives none.

        Raises:
            ValueError: the candle has not closed, or it or a later one has a signal.
        """
        place = self.undecided.index(timestamp)
        number = self.candles - len(self.undecided) + place
        close = self.undecided_closes[place]
        later = slice(place + 1, None)
        state = replace(
            self, undecided=self.undecided[later], undecided_closes=self.undecided_closes[later]
        )
        if levels is not None or state.levels is not None:
            state = state._apply_levels(levels, is_buy=signal > 0)
        if signal > 0:
            return state._apply_buy(rules, number, can_enter=can_enter)
        return state._apply_sell(rules, close) if signal < 0 else state

    def _apply_levels(self, row: LevelRow | None, *, is_buy: bool) -> "SymbolStepState":
        """Return the state after the strategy's levels of a candle."""
        held, order = self.position, self.order
        if held is not None:
            held = replace(held, levels=update_levels(held.levels, row))
        if order is not None and order.side == "buy":
            order = replace(order, levels=update_levels(order.levels, row))
        limit = self.limit
        if limit is not None:
            limit = replace(limit, levels=update_levels(limit.levels, row))
        newest = row if is_buy else update_levels(self.levels, row)
        return replace(self, position=held, order=order, levels=newest, limit=limit)

    def _apply_sell(self, rules: StepRules, close: float) -> "SymbolStepState":
        """Return the state after a SELL: a due one stays due, and an open limit order ends."""
        held, min_factor = self.position, rules.exits.min_exit_factor
        if held is None or min_factor is None:
            # An entry in flight has no price yet, so no minimum price of an exit can be computed.
            is_due = not self.is_flat and min_factor is None
        else:
            is_due = self.sell_due or rules.exits.sell_counts(held.entry_price, close)
        return replace(self, buy_due=False, sell_due=is_due, limit=None)

    def add_closed_candle(self, timestamp: int, close: float) -> "SymbolStepState":
        """Return the state with one closed candle more, which waits for a signal.

        Args:
            timestamp: Open of the candle, epoch seconds.
            close: Close of the candle, quote currency.
        """
        newest = slice(1 - MAX_UNDECIDED, None)
        return replace(
            self,
            candles=self.candles + 1,
            closed=timestamp,
            undecided=(*self.undecided[newest], timestamp),
            undecided_closes=(*self.undecided_closes[newest], close),
        )

    def _apply_buy(self, rules: StepRules, number: int, *, can_enter: bool) -> "SymbolStepState":
        is_same_run = self.last_buy is not None and self.last_buy == number - 1
        run_start = self.run_start if is_same_run else number
        after = replace(self, last_buy=number, run_start=run_start)
        is_newest = number == self.candles - 1
        may_be_flat = (self.position is None or self.order is not None) and self.limit is None
        if can_enter and is_newest and may_be_flat and find_entry_obstacle(rules, after) is None:
            return replace(after, buy_due=True, due_limit=self._make_due_limit(number))
        return after

    def _make_due_limit(self, number: int) -> OpenLimit | None:
        """Return the limit order of a BUY on the candle with this number; None: a market order."""
        row = self.levels
        if row is None or row.limit is None:
            return None
        return OpenLimit(row.limit, number + row.expiry_candles)

    def end_limit(self, timestamp: int) -> "SymbolStepState":
        """Return the state without the limit order, which ended in a candle (epoch seconds)."""
        return replace(self, limit=None, limit_ended=timestamp)

    def clear_order(self) -> "SymbolStepState":
        """Return the state without an order in flight: the order that is due fits the position."""
        is_held = self.position is not None
        return replace(
            self,
            order=None,
            buy_due=self.buy_due and not is_held,
            sell_due=self.sell_due and is_held,
        )


class StepState(Struct, frozen=True):
    """State of the trading rules of an account, by symbol."""

    symbols: dict[str, SymbolStepState] = field(default_factory=dict[str, SymbolStepState])
    closed: tuple[ClosedTrade, ...] = ()
    """Closed trades of the account that entry guards use, in the order of guard_log.py."""

    @classmethod
    def make_flat(cls, rules: StepRules) -> "StepState":
        """Return the state of an account without positions."""
        return cls({symbol: SymbolStepState() for symbol in rules.symbols})

    def find_pause(self, rules: StepRules, symbol: str, timestamp: int) -> EntryPause | None:
        """Return a pause in which a symbol does not enter; None: entries are allowed.

        Args:
            rules: Rules of the account.
            symbol: Symbol of the entry.
            timestamp: Open of the candle that would fill the entry, epoch seconds.
        """
        if not rules.entry_guards or not self.closed:
            return None
        log = GuardLog(rules.entry_guards, rules.candle_seconds, self.closed)
        return log.find_pause(symbol, timestamp)


def sort_closed_trades(rules: StepRules, trades: Iterable[ClosedTrade]) -> tuple[ClosedTrade, ...]:
    """Return closed trades in the order of an account's events, without those that are too old.

    Args:
        rules: Rules of the account.
        trades: Closed trades, in any order.
    """
    ordered = sorted(trades, key=lambda one: make_sort_key(one, rules.symbols))
    return drop_old_trades(rules.entry_guards, ordered, rules.candle_seconds)


def find_entry_obstacle(rules: StepRules, state: SymbolStepState) -> EntryObstacle | None:
    """Return the reason why a BUY on the newest closed candle may not enter; None: no reason.

    Args:
        rules: Cooldown and re-entry.
        state: State of the symbol, after that BUY.
    """
    if state.count_cooldown_left(rules):
        return "cooldown"
    is_used = state.used_run is not None and state.used_run == state.run_start
    return "run_used" if is_used and rules.reentry == "new_signal" else None
