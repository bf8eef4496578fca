"""Several symbols on one account as a plain loop over events, with the cash as a Decimal.

Every event is taken from a heap, the union of the axes is made by sorting, and nothing is done in
columns: slow, and easy to be sure of. The engine's own ways are compared with it to the last bit.
"""

import heapq
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import FloatArray, IntArray
from onetape.core.price_steps import add_month_steps
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig, PortfolioResult, SimulationResult, SymbolSeries
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.equity import compute_equity_parts
from onetape.engine.exits import EXIT_KINDS, TARGET
from onetape.engine.fills import FillValues
from onetape.engine.simulation import make_cash_only_state, make_symbol_state
from onetape.engine.symbol_state import SymbolState
from plain_guards import PlainTrade, is_paused

_EXIT_AT_OPEN, _ENTRY, _EXIT_INSIDE = range(3)
#: Part of the cash that may be left by rounding after an order without an amount step.
_NOISE: Final = Decimal("1e-12")
#: Digits enough for any sum of cash and changes of it.
_EXACT: Final = Context(prec=1_200)
_ZERO: Final = Decimal(0)
#: Time, kind of event, symbol, candidate of the symbol's plan, and bar.
_Event = tuple[int, int, int, int, int]


def simulate_by_events(
    series: Sequence[SymbolSeries], rules: AccountConfig, max_open_trades: int | None = None
) -> PortfolioResult:
    """Return the result of `simulate_portfolio`."""
    empty = make_cash_only_state(rules)
    own_rules = [
        replace(rules, trading_rules=add_month_steps(one.trading_rules, one.candles))
        for one in series
    ]
    symbols = [
        make_symbol_state(
            one.candles,
            one.signal,
            own,
            one.start_index,
            empty,
            one.intrabar,
            one.has_volume,
            one.levels,
        )
        for one, own in zip(series, own_rules, strict=True)
    ]
    steps = [np.diff(one.candles.timestamp) for one in series]
    seconds = min((int(each.min()) for each in steps if len(each)), default=1)
    account = PlainAccount(symbols, own_rules, max_open_trades or len(symbols), seconds)
    account.trade()
    timestamp = _merge_times([symbol.candles.timestamp for symbol in symbols])
    equity = account.equity(timestamp)
    parts = tuple(
        SimulationResult(
            rules=own,
            candles=symbol.candles,
            start_index=one.start_index,
            start_cash=rules.cash,
            equity=equity[np.searchsorted(timestamp, symbol.candles.timestamp)],
            cash=account.cash,
            base=symbol.fill_log.base,
            fill_log=symbol.fill_log,
            state=empty,
            untraded=symbol.due.untraded,
            symbol=one.symbol,
        )
        for one, own, symbol in zip(series, own_rules, symbols, strict=True)
    )
    return PortfolioResult(
        rules=own_rules[0],
        max_open_trades=max_open_trades,
        parts=parts,
        timestamp=timestamp,
        equity=equity,
        cash=account.cash,
        skipped_entries=account.skipped,
    )


class ExactChange(Struct, frozen=True):
    """Changes of cash without rounding error, from a fill's numbers as floats.

    With price and amount step, price times amount is a whole number of units; without, the change
    is the exact value of the float.
    """

    price_unit: float
    """Unit of which the price step of every month is a multiple; 0: no step."""
    amount_step: float
    """Amount step, base currency; 0: no step."""
    per_unit_bought: Decimal
    """Change of cash for one unit, fee included where it is paid in quote currency."""
    per_unit_sold: Decimal
    """Change of cash for one unit of a market order."""
    per_unit_target: Decimal
    """Change of cash for one unit of a limit order."""

    @classmethod
    def of(cls, rules: AccountConfig) -> "ExactChange":
        """Return the changes under these rules."""
        trading_rules = rules.trading_rules
        price_unit = _compute_price_unit(trading_rules)
        unit = price_unit * (trading_rules.amount_step or Decimal(0))
        fee, target_fee = (Decimal(repr(rate)) for rate in (rules.fee_rate, rules.target_fee_rate))
        bought = 1 if rules.fee_currency == "base" else 1 + fee
        return cls(
            float(price_unit),
            float(trading_rules.amount_step or 0),
            _EXACT.multiply(unit, -bought),
            _EXACT.multiply(unit, 1 - fee),
            _EXACT.multiply(unit, 1 - target_fee),
        )

    def change(
        self, numbers: FillValues, *, is_maker: bool, has_price_step: bool = True
    ) -> Decimal:
        """Return the change of cash of one fill, quote currency; negative for a buy.

        Args:
            numbers: The fill.
            is_maker: Whether it is a limit order.
            has_price_step: False in a month whose prices have no step.
        """
        if not (has_price_step and self.price_unit and self.amount_step):
            return Decimal(float(numbers[4]))
        units = round(numbers[0] / self.price_unit) * round(numbers[1] / self.amount_step)
        if numbers[4] < 0:
            return _EXACT.multiply(self.per_unit_bought, units)
        return _EXACT.multiply(self.per_unit_target if is_maker else self.per_unit_sold, units)


def _compute_price_unit(trading_rules: TradingRules) -> Decimal:
    """Return the unit of which the price steps of all months are multiples; 0: no step."""
    if not trading_rules.price_step:
        return Decimal(0)
    month_steps = [month.price_step for month in trading_rules.months or () if month.price_step]
    if not month_steps:
        return trading_rules.price_step
    digits = [
        step.normalize().as_tuple().exponent for step in (trading_rules.price_step, *month_steps)
    ]
    return Decimal(1).scaleb(min(int(each) for each in digits))


class PlainAccount:
    """The cash that all symbols share.

    The next symbol's order has only the cash that the order before left, which may be a millionth
    of the account: a float's error, small compared with the whole, would be visible in that order.
    So the cash is exact. One symbol alone never spends a remainder; its cash is the sum of
    `simulate`.
    """

    def __init__(
        self, symbols: list[SymbolState], rules: list[AccountConfig], slots: int, seconds: int
    ) -> None:
        self._symbols = symbols
        self._rules = rules[0]
        self._seconds = seconds
        self._closed: list[PlainTrade] = []
        self._paid = [0.0] * len(symbols)
        self._exact = [ExactChange.of(own) for own in rules]
        self._slots = slots
        self._noise = [_ZERO if own.trading_rules.amount_step else _NOISE for own in rules]
        self._open: set[int] = set()
        self._cooldown = rules[0].cooldown_bars
        self._blocked: dict[int, int] = {}
        """Candidate of each symbol that waits because all slots are full, by symbol."""
        self._skipped_run = [NO_CANDIDATE] * len(symbols)
        """Last run of BUYs that was counted as skipped, by symbol."""
        self._events: list[_Event] = []
        self._moments: list[int] = []
        self._exact_cash = Decimal(repr(float(rules[0].cash)))
        self.cash = float(rules[0].cash)
        self._cash_after = [self.cash]
        """Cash at the start and after each fill, quote currency."""
        self.skipped = 0

    def trade(self) -> None:
        """Carry out all plans, event by event."""
        for number, symbol in enumerate(self._symbols):
            self._await_entry(number, symbol.plan.find_entry_from(0))
        while self._events:
            moment, kind, number, candidate, bar = heapq.heappop(self._events)
            if kind == _ENTRY:
                self._enter(moment, number, candidate, bar)
            else:
                self._leave(moment, kind, number, candidate, bar)
        for number, candidate in self._blocked.items():
            self.skipped += len(self._missed_runs(number, candidate, NO_CANDIDATE))
        for number, symbol in enumerate(self._symbols):
            self._mark_paused(number)
            exits = symbol.fill_log.get_exit_bars()
            free = exits[-1] + 1 + self._cooldown if exits else 0
            is_held = number in self._open
            symbol.record_waiting_orders(
                free, symbol.fill_log.make_last_buy().before_slippage if is_held else None
            )

    def _mark_paused(self, number: int) -> None:
        """Write down at which candles a BUY that waits is dropped by an entry guard."""
        symbol = self._symbols[number]
        if symbol.due.untraded is None or not self._rules.entry_guards:
            return
        times = symbol.candles.timestamp.tolist()
        closed = np.array([self._is_paused(number, moment) for moment in times], dtype=np.bool_)
        closed |= False if symbol.due.closed is None else symbol.due.closed
        symbol.due = replace(symbol.due, closed=closed)

    def _is_paused(self, number: int, moment: int) -> bool:
        return is_paused(self._rules, self._closed, str(number), moment, self._seconds)

    def _is_dropped(self, number: int, candidate: int) -> bool:
        """Return whether a BUY is dropped by a candle from that at which it is due on."""
        symbol = self._symbols[number]
        due, bar = max(symbol.plan.find_due_bar(candidate), 0), symbol.plan.bars[candidate]
        times = symbol.candles.timestamp[due : bar + 1].tolist()
        return any(self._is_paused(number, time) for time in times)

    def _missed_runs(self, number: int, candidate: int, later: int) -> set[int]:
        """Return the runs of BUYs that a symbol could not try while all slots were full."""
        plan, found = self._symbols[number].plan, set[int]()
        first = plan.find_buy_run(candidate)
        if not self._rules.entry_guards:
            return {*range(first + 1, first + 1 + plan.count_runs_between(candidate, later))}
        between = plan.find_buy_after(candidate)
        while between not in (later, NO_CANDIDATE):
            if not self._is_dropped(number, between):
                found.add(plan.find_buy_run(between))
            between = plan.find_buy_after(between)
        return found - {first}

    def equity(self, timestamp: IntArray) -> FloatArray:
        """Return cash and positions at the close of the candles that open at these moments."""
        done = np.searchsorted(np.asarray(self._moments, dtype=np.int64), timestamp, side="right")
        value = np.array(self._cash_after)[done]
        for symbol in self._symbols:
            own = compute_equity_parts(symbol.candles, symbol.fill_log, 0.0, 0.0)[1]
            last = np.searchsorted(symbol.candles.timestamp, timestamp, side="right") - 1
            if len(own):
                value += np.where(last >= 0, own[last], 0.0)
        return value

    def _enter(self, moment: int, number: int, candidate: int, bar: int) -> None:
        symbol = self._symbols[number]
        if self._is_dropped(number, candidate):
            self._await_entry(number, symbol.plan.find_buy_after(candidate))
            return
        if len(self._open) >= self._slots:
            self._blocked[number] = candidate
            self._count_skipped(number, symbol.plan.find_buy_run(candidate))
            return
        bought = symbol.buy(
            candidate, self.cash, self._compute_equity(moment) if self._open else None
        )
        if bought is None:
            self._await_entry(number, symbol.plan.find_buy_after(candidate))
            return
        self._note(moment, number, bar, bought)
        self._paid[number] = -bought[4]
        self._open.add(number)
        if self._skipped_run[number] == symbol.plan.find_buy_run(candidate):
            # The entry was late, and not skipped.
            self._skipped_run[number] = NO_CANDIDATE
            self.skipped -= 1
        self._await_exit(number, candidate, symbol.find_exit(candidate))

    def _count_skipped(self, number: int, run: int) -> None:
        if self._skipped_run[number] != run:
            self._skipped_run[number] = run
            self.skipped += 1

    def _try_blocked(self, moment: int) -> None:
        """Await the next BUYs of symbols that found all slots full, now that one is free.

        Args:
            moment: Time from which on an open may fill the BUYs.
        """
        for number, candidate in self._blocked.items():
            symbol = self._symbols[number]
            bar = int(np.searchsorted(symbol.candles.timestamp, moment))
            later = symbol.plan.find_buy_after(candidate, bar)
            missed = self._missed_runs(number, candidate, later)
            if missed:
                self.skipped += len(missed)
                self._skipped_run[number] = max(missed)
            self._await_entry(number, later)
        self._blocked.clear()

    def _leave(self, moment: int, kind: int, number: int, candidate: int, bar: int) -> None:
        symbol = self._symbols[number]
        sold = symbol.sell(candidate, bar)
        if sold is None:
            self._await_exit(number, candidate, symbol.plan.set_exit_at_next_sell(candidate, bar))
            return
        is_maker = symbol.plan.exit_kinds[candidate] == TARGET
        kinds = (EXIT_KINDS[symbol.plan.exit_kinds[candidate]],)
        ratio, is_inside = sold[4] / self._paid[number] - 1, kind == _EXIT_INSIDE
        self._closed.append(PlainTrade(str(number), moment, kinds, ratio, is_inside))
        self._note(moment, number, bar, sold, is_maker=is_maker)
        self._open.discard(number)
        self._await_entry(number, symbol.plan.find_entry_after(candidate, bar))
        self._try_blocked(moment if kind == _EXIT_AT_OPEN else moment + 1)

    def _note(
        self, moment: int, number: int, bar: int, numbers: FillValues, *, is_maker: bool = False
    ) -> None:
        if len(self._symbols) == 1:
            self.cash += numbers[4]
        else:
            has_step = self._symbols[number].has_price_step(bar)
            change = self._exact[number].change(numbers, is_maker=is_maker, has_price_step=has_step)
            self._take(number, change)
        self._moments.append(moment)
        self._cash_after.append(self.cash)

    def _take(self, number: int, change: Decimal) -> None:
        """Add a change to the cash, which is never less than zero."""
        cash = _EXACT.add(self._exact_cash, change)
        if change <= 0 and cash <= _EXACT.multiply(self._exact_cash, self._noise[number]):
            cash = _ZERO
        self._exact_cash = cash
        self.cash = float(cash)

    def _await_entry(self, number: int, candidate: int) -> None:
        if candidate != NO_CANDIDATE:
            symbol = self._symbols[number]
            bar = symbol.plan.bars[candidate]
            moment = int(symbol.candles.timestamp[bar])
            heapq.heappush(self._events, (moment, _ENTRY, number, candidate, bar))

    def _await_exit(self, number: int, candidate: int, bar: int) -> None:
        symbol = self._symbols[number]
        if bar >= len(symbol.candles):
            return
        kind = _EXIT_AT_OPEN if symbol.is_exit_at_open(candidate, bar) else _EXIT_INSIDE
        heapq.heappush(
            self._events, (int(symbol.candles.timestamp[bar]), kind, number, candidate, bar)
        )

    def _compute_equity(self, moment: int) -> float:
        """Return cash and open positions at the closes known at a moment."""
        value = self.cash
        for number in sorted(self._open):
            symbol = self._symbols[number]
            last = int(np.searchsorted(symbol.candles.timestamp, moment)) - 1
            price = symbol.candles.close[last] if last >= 0 else symbol.candles.open[0]
            value += symbol.fill_log.base * float(price)
        return value


def _merge_times(columns: Sequence[IntArray]) -> IntArray:
    return columns[0] if len(columns) == 1 else np.unique(np.concatenate(columns))
