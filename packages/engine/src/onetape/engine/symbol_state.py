"""One symbol in a simulation, and the loop over the trades of its entry plan."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.price_steps import find_price_step
from onetape.engine.account_config import AccountConfig
from onetape.engine.annual_volatility import compute_volatility_before
from onetape.engine.due_orders import DueOrders
from onetape.engine.entry_plan import NO_CANDIDATE, EntryPlan
from onetape.engine.exits import (
    SIGNAL,
    STOP_LOSS,
    TARGET,
    TIME_STOP,
    TRAILING_STOP,
    compute_levels,
)
from onetape.engine.fill_log import FillLog
from onetape.engine.fills import (
    EMPTY_CONTEXT,
    FillModel,
    FillValues,
    OrderContext,
)
from onetape.engine.intrabar import IntrabarExit, IntrabarSource, find_intrabar_exit
from onetape.engine.month_models import MonthModels
from onetape.engine.ratios import compute_candle_seconds
from onetape.engine.refused_orders import RefusedOrder

if TYPE_CHECKING:
    from onetape.engine.guard_log import EntryPause, GuardLog
    from onetape.engine.known_levels import KnownLevels

#: Kinds of exits that fill at an open.
_AT_OPEN: Final = (SIGNAL, TIME_STOP)
#: Kinds of exits that count as stops.
_STOPS: Final = (STOP_LOSS, TRAILING_STOP)


class SymbolState:
    """One symbol during a simulation: candles, possible entries and exits, and the fill log."""

    def __init__(
        self,
        candles: Candles,
        plan: EntryPlan,
        fill_log: FillLog,
        rules: AccountConfig,
        all_candles: Candles,
        intrabar: IntrabarSource | None,
        due: DueOrders,
        levels: "KnownLevels | None" = None,
    ) -> None:
        """Prepare; nothing is traded yet.

        Args:
            candles: Traded candles.
            plan: Entries and exits of these candles.
            fill_log: Log to which the fills are added.
            rules: Money, fees and market.
            all_candles: Traded candles and those before them.
            intrabar: Intrabar candles, which decide exits inside a bar; None: none are used.
            due: Orders due on each candle.
            levels: Levels of the strategy; None: the strategy gives none.
        """
        self.due = due
        self.levels = levels
        self.candles = candles
        self.plan = plan
        self.fill_log = fill_log
        self.model = fill_log.model
        self.months = MonthModels(rules) if rules.trading_rules.months else None
        """Models of months with a finer price step; None: one model holds for all."""
        self._all = all_candles
        self._skipped = len(all_candles) - len(candles)
        self.intrabar = intrabar
        self.exits = rules.exits
        self._steps = rules.trading_rules
        self._volatility = self._make_volatility_function(rules)
        self.name = ""
        """Symbol, for entry guards; empty in a run over one symbol."""
        self.guard_log: GuardLog | None = None
        """Closed trades of the account, which may pause entries; None: no entry guards."""
        carried = fill_log.carried
        self._paid = 0.0 if carried is None else -carried.fill.cash_change
        """Cost of the last buy, fee included, quote currency."""
        self._has_volume_limit = rules.max_volume_share is not None
        self._needs_volume = bool(rules.volume_impact) or self._has_volume_limit
        self.needs_context = self._needs_volume or self._volatility is not None

    def _make_volatility_function(
        self, rules: AccountConfig
    ) -> Callable[[int], float | None] | None:
        if rules.sizing != "volatility_target":
            return None
        # All candles are used, because the traded range may be a single candle.
        seconds = compute_candle_seconds(self._all.timestamp)
        return lambda bar: compute_volatility_before(
            self._all.close, self._skipped + bar, rules.volatility_bars, seconds
        )

    def _get_model(self, bar: int) -> FillModel:
        """Return the fill model with the price step of a bar's month."""
        if self.months is None:
            return self.model
        return self.months.get_model_at(int(self.candles.timestamp[bar]))

    def has_price_step(self, bar: int) -> bool:
        """Return whether the prices of a bar's month have a step."""
        return self._get_model(bar).price_step > 0

    def record_waiting_orders(self, free: int, held_price: float | None) -> None:
        """Record in the fill log which orders waited for a candle with a trade, or still wait.

        Args:
            free: First bar at which a BUY may be due after the last exit.
            held_price: Price before slippage of the entry open at the end; None: no position.
        """
        due, fill_log = self.due, self.fill_log
        if due.untraded is None:
            return
        if self.guard_log is not None:
            paused = self.guard_log.mask_paused(self.name, self.candles.timestamp)
            due = replace(due, closed=paused if due.closed is None else due.closed | paused)
        waited = due.count_waits(
            fill_log.get_entry_bars(), fill_log.get_exit_bars(), fill_log.exit_kinds
        )
        fill_log.waited = {bar: n for bar, n in waited.items() if bar not in fill_log.limit_waits}
        if fill_log.open_limit is not None:
            fill_log.waiting = 0
        elif held_price is None:
            fill_log.waiting = due.count_waiting_buys(fill_log.last_entry, free)
        else:
            fill_log.waiting = -1 if self.plan.is_sell_waiting(held_price) else 0

    def make_order_context(self, bar: int, equity: float | None = None) -> OrderContext:
        """Return volume, equity and volatility for an order that is filled in this bar."""
        return OrderContext(
            self._get_volume_before(bar),
            equity,
            self._volatility(bar) if self._volatility else None,
        )

    def _get_volume_before(self, bar: int) -> float:
        """Return the volume of the candle before a bar, which is known when an order is sent."""
        number = self._skipped + bar - 1
        return float(self._all.volume[number]) if number >= 0 else 0.0

    def buy(self, candidate: int, cash: float, equity: float | None = None) -> FillValues | None:
        """Buy; return the fill, or None where the order was refused."""
        plan, fill_log = self.plan, self.fill_log
        bar, price = plan.bars[candidate], plan.prices[candidate]
        context = self._make_entry_context(bar, equity)
        model = self.model if self.months is None else self._get_model(bar)
        numbers = model.compute_buy_values(cash, price, context)
        if isinstance(numbers, RefusedOrder):
            fill_log.refused.append((bar, numbers))
            return None
        if self._has_volume_limit:
            fill_log.limited += model.is_buy_limited(numbers[1], cash, price, context)
        fill_log.add_buy(bar, numbers, price)
        self._paid = -numbers[4]
        return numbers

    def _make_entry_context(self, bar: int, equity: float | None) -> OrderContext:
        """Return the context of an entry that is sent at the open of a bar."""
        if self.needs_context:
            return self.make_order_context(bar, equity)
        return EMPTY_CONTEXT if equity is None else OrderContext(0.0, equity)

    def sell(self, candidate: int, bar: int) -> FillValues | None:
        """Sell; return the fill, or None where the order was refused."""
        plan, fill_log = self.plan, self.fill_log
        kind, price = plan.exit_kinds[candidate], plan.exit_prices[candidate]
        if self.intrabar is None:
            fill_log.ambiguous += candidate in plan.ambiguous
        volume = self._get_volume_before(bar) if self._needs_volume else 0.0
        model = self.model if self.months is None else self._get_model(bar)
        numbers = model.compute_sell_values(fill_log.base, price, volume, kind == TARGET)
        if isinstance(numbers, RefusedOrder):
            fill_log.refused.append((bar, numbers))
            return None
        fill_log.add_sell(bar, numbers, price, kind)
        if self.guard_log is not None:
            self._log_closed_trade(self.guard_log, candidate, bar, numbers)
        return numbers

    def _log_closed_trade(
        self, log: "GuardLog", candidate: int, bar: int, sold: FillValues
    ) -> None:
        """Add the trade that a sell has closed to the log of the entry guards."""
        # A run without entry guards does not load the module.
        from onetape.engine.guard_log import ClosedTrade

        log.add(
            ClosedTrade(
                symbol=self.name,
                timestamp=int(self.candles.timestamp[bar]),
                profit_ratio=sold[4] / self._paid - 1.0,
                is_stop=self.plan.exit_kinds[candidate] in _STOPS,
                is_inside=not self.is_exit_at_open(candidate, bar),
            )
        )

    def find_entry_after_pause(self, candidate: int) -> int | None:
        """Return the candidate to try in place of one at which entries pause; None: no pause.

        Args:
            candidate: An entry whose turn it is; a BUY that waits for a trade is dropped by each
                candle at whose open entries pause.

        Returns:
            A later candidate, or NO_CANDIDATE.
        """
        pause = self._find_pause(self.plan.find_due_bar(candidate), self.plan.bars[candidate])
        if pause is None:
            return None
        # Nothing enters at the opens before this moment, whatever the length of the months.
        end = pause.trade.timestamp + pause.guard.stop_duration_candles * pause.candle_seconds
        return self.plan.find_buy_after(candidate, int(self.candles.timestamp.searchsorted(end)))

    def find_missed_runs(self, candidate: int, later: int) -> Sequence[int]:
        """Return the runs of BUYs that passed while a symbol waited for a free slot, ascending.

        A run whose BUYs all came while entries paused is not one of them.

        Args:
            candidate: Candidate that found all slots full; its own run is not returned.
            later: The candidate after the wait; NO_CANDIDATE: none.
        """
        plan, first = self.plan, self.plan.find_buy_run(candidate)
        if self.guard_log is None:
            return range(first + 1, first + 1 + plan.count_runs_between(candidate, later))
        passed = plan.get_buys_between(candidate, later)
        found: list[int] = []
        for bar, due, run in zip(*(column.tolist() for column in passed), strict=True):
            if run not in (first, *found[-1:]) and self._find_pause(due, bar) is None:
                found.append(run)
        return found

    def _find_pause(self, due: int, bar: int) -> "EntryPause | None":
        """Return a pause of entries that drops the BUY which is due and filled in these bars."""
        if self.guard_log is None:
            return None
        for number in range(max(due, 0), bar + 1):
            pause = self.guard_log.find_pause(self.name, int(self.candles.timestamp[number]))
            if pause is not None:
                return pause
        return None

    def find_exit(self, candidate: int) -> int:
        """Return the bar of the exit of a position that is held; intrabar candles may move it.

        Args:
            candidate: Candidate of the position.
        """
        bar = self.plan.find_exit(candidate)
        if self.intrabar is None or candidate in self.plan.without_levels:
            return bar
        while bar < len(self.candles) and not self.is_exit_at_open(candidate, bar):
            if bar in self.fill_log.intrabar_exits or self._opens_beyond_level(candidate, bar):
                break
            inside = self._find_inside(self.intrabar, candidate, bar)
            if not inside.is_position_open:
                if inside.exit is not None:
                    self.plan.replace_exit(candidate, inside.exit)
                break
            bar = self.plan.find_exit_after(
                candidate, bar, self._find_highest_price(candidate, bar + 1)
            )
        return bar

    def _opens_beyond_level(self, candidate: int, bar: int) -> bool:
        """Return whether a bar, of the entry or a later one, opens beyond the level that is met."""
        plan = self.plan
        return (
            candidate not in plan.ambiguous
            and plan.exit_prices[candidate] == self.candles.open[bar]
        )

    def is_exit_at_open(self, candidate: int, bar: int) -> bool:
        """Return whether a candidate's exit fills at the open of its bar."""
        plan = self.plan
        if plan.exit_kinds[candidate] in _AT_OPEN:
            return True
        is_inside = (
            candidate in plan.ambiguous
            or bar in self.fill_log.intrabar_exits
            or bar == plan.bars[candidate]
        )
        return not is_inside and plan.exit_prices[candidate] == self.candles.open[bar]

    def _find_highest_price(self, candidate: int, end: int) -> float:
        """Return the highest price of a position before a bar."""
        entry, carried = self.plan.bars[candidate], self.fill_log.carried
        highest = (
            carried.highest if entry < 0 and carried is not None else self.plan.prices[candidate]
        )
        highs = self.due.reached.high[max(entry, 0) : end]
        return max(highest, float(highs.max())) if len(highs) else highest

    def _find_inside(self, intrabar: IntrabarSource, candidate: int, bar: int) -> IntrabarExit:
        """Find the exit by the intrabar candles of a bar; record it in the fill log."""
        plan, fill_log, candles = self.plan, self.fill_log, self.candles
        moment, age = int(candles.timestamp[bar]), bar - plan.bars[candidate]
        step = find_price_step(self._steps, moment)
        row = None if self.levels is None else self.levels.find_row(plan.bars[candidate], bar)
        highest = self._find_highest_price(candidate, bar)
        levels = compute_levels(self.exits, plan.prices[candidate], highest, age, step, row)
        low, high = float(candles.low[bar]), float(candles.high[bar])
        levels = levels.follow_price(float(candles.open[bar]))
        inside = find_intrabar_exit(intrabar, moment, levels, low, high)
        fill_log.intrabar_exits[bar] = inside
        if candidate in plan.ambiguous:
            is_decided = inside.undecided is None
            fill_log.decided += is_decided
            fill_log.ambiguous += not is_decided
            fill_log.missing_intrabar += inside.undecided == "missing"
        return inside


def trade_alone(
    symbol: SymbolState, cash: float, candidate: int, *, is_held: bool
) -> tuple[float, int]:
    """Trade the plan of a symbol that has the account alone, one trade after the other.

    Args:
        symbol: The symbol.
        cash: Quote currency at the start.
        candidate: First entry to try, or NO_CANDIDATE; where `is_held`, the position that is held.
        is_held: Whether the range begins with a position.

    Returns:
        The cash at the end, and the candidate of the position that is open then, or NO_CANDIDATE.
    """
    plan, count = symbol.plan, len(symbol.candles)
    exit_bars = plan.exit_bars
    while candidate != NO_CANDIDATE:
        if not is_held:
            later = None if symbol.guard_log is None else symbol.find_entry_after_pause(candidate)
            if later is not None:
                candidate = later
                continue
            bought = symbol.buy(candidate, cash)
            if bought is None:
                candidate = plan.find_buy_after(candidate)
                continue
            cash += bought[4]
        is_held = False
        bar = exit_bars[candidate]
        if bar < 0 or symbol.intrabar is not None:
            bar = symbol.find_exit(candidate)
        while bar < count:
            sold = symbol.sell(candidate, bar)
            if sold is not None:
                cash += sold[4]
                break
            bar = plan.set_exit_at_next_sell(candidate, bar)
        else:
            return cash, candidate
        candidate = plan.find_entry_after(candidate, bar)
    return cash, NO_CANDIDATE
