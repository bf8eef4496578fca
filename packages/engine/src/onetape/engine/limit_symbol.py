"""One symbol in a simulation whose strategy gives limit prices (limit_orders.py).

Its orders are carried out one by one, each exit is searched alone. Runs without limit prices load
none of this.
"""

from onetape.core.price_steps import find_price_step
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.exits import BarExit, Levels, compute_levels, find_exit_after_limit
from onetape.engine.fills import FillValues
from onetape.engine.intrabar import IntrabarSource, find_intrabar_exit_after_limit
from onetape.engine.limit_orders import LimitOrder
from onetape.engine.refused_orders import RefusedOrder
from onetape.engine.symbol_state import SymbolState


class LimitSymbolState(SymbolState):
    """One symbol whose entries may be limit orders."""

    def send_limit(
        self, candidate: int, order: LimitOrder, cash: float, equity: float | None = None
    ) -> FillValues | None:
        """Send a limit order.

        Args:
            candidate: Candidate of the order.
            order: The order.
            cash: Available quote currency.
            equity: Equity of the account, quote currency; None: equal to its cash.

        Returns:
            The most expensive fill, for which money is reserved; None: the order was refused.
        """
        bar, fill_log = self.plan.bars[candidate], self.fill_log
        context = self._make_entry_context(bar, equity)
        model = self.model if self.months is None else self._get_model(bar)
        reserved = model.compute_limit_values(cash, order.price, context)
        if isinstance(reserved, RefusedOrder):
            fill_log.refused.append((bar, reserved))
            return None
        if self._has_volume_limit:
            fill_log.limited += model.is_buy_limited(
                reserved[1], cash, order.price, context, is_limit=True
            )
        return reserved

    def fill_limit(
        self, candidate: int, order: LimitOrder, reserved: FillValues
    ) -> FillValues | None:
        """Fill a limit order in the bar in which its price comes; return the fill, or None.

        Args:
            candidate: Candidate of the order.
            order: The order.
            reserved: Values of `send_limit`.
        """
        fill, fill_log = self.plan.find_limit_fill(candidate), self.fill_log
        if fill is None:
            return None
        bar, volume = fill.bar, 0.0
        if self._needs_volume:
            volume = self._get_volume_before(bar)
        model = self.model if self.months is None else self._get_model(bar)
        open_price = None if fill.is_inside else fill.price
        numbers = model.compute_limit_fill(reserved, open_price, volume)
        fill_log.add_buy(bar, numbers, fill.price)
        fill_log.limit_waits[bar] = bar - order.due
        self._paid = -numbers[4]
        self.plan.set_limit_fill(candidate, fill)
        if fill.is_inside:
            fill_log.inside_entries[bar] = max(fill.price, float(self.candles.close[bar]))
        if self.levels is not None:
            self.levels.note_limit_entry(bar, order.due)
        return numbers

    def note_limit_end(self, order: LimitOrder, bar: int) -> None:
        """Record that a limit order ended in a bar without a fill, or is open after the last bar.

        Args:
            order: The order.
            bar: The bar; the number of bars: it is open at the end of the range.
        """
        if bar >= len(self.candles):
            self.fill_log.open_limit = order.due
        else:
            self.fill_log.unfilled_limits.extend((order.due, bar))

    def is_paused(self, bar: int) -> bool:
        """Return whether an entry guard pauses entries at the open of a bar."""
        return self._find_pause(bar, bar) is not None

    def find_exit(self, candidate: int) -> int:
        """Return the bar of the exit of a position that is held; see `SymbolState.find_exit`."""
        plan = self.plan
        if plan.exit_bars[candidate] < 0 and plan.bars[candidate] in self.fill_log.inside_entries:
            self._search_exit_after_limit(candidate)
        return super().find_exit(candidate)

    def _search_exit_after_limit(self, candidate: int) -> None:
        """Search the exit of a position that was filled at its limit inside a bar."""
        plan, bar = self.plan, self.plan.bars[candidate]
        if plan.has_levels:
            found = self._find_exit_in_fill_bar(candidate, bar)
            if found is not None:
                plan.set_exit_in_bar(candidate, bar, found)
                return
        plan.find_exit_after(candidate, bar, self.fill_log.inside_entries[bar])

    def _find_exit_in_fill_bar(self, candidate: int, bar: int) -> BarExit | None:
        """Return the exit in the bar of the fill, by its intrabar candles if they decide."""
        moment, price = int(self.candles.timestamp[bar]), self.plan.prices[candidate]
        low, high = float(self.candles.low[bar]), float(self.candles.high[bar])
        own = None if self.levels is None else self.levels.find_row(bar, bar)
        step = find_price_step(self._steps, moment)
        levels = compute_levels(self.exits, price, price, 0, step, own)
        found = find_exit_after_limit(price, high, low, levels)
        if self.intrabar is None or (found is None and high < levels.target):
            return found
        return self._look_into_fill_bar(self.intrabar, bar, price, levels, found)

    def _look_into_fill_bar(
        self,
        intrabar: IntrabarSource,
        bar: int,
        price: float,
        levels: Levels,
        found: BarExit | None,
    ) -> BarExit | None:
        """Return the exit by the intrabar candles of the bar of a fill; record it.

        Args:
            intrabar: Source of the intrabar candles.
            bar: Bar of the fill.
            price: Limit at which the position was entered.
            levels: Levels of the position.
            found: Exit by the rule for one bar, which holds where the candles do not decide.
        """
        fill_log, candles = self.fill_log, self.candles
        low, high = float(candles.low[bar]), float(candles.high[bar])
        inside, highest = find_intrabar_exit_after_limit(
            intrabar, int(candles.timestamp[bar]), levels, low, high, price
        )
        fill_log.intrabar_exits[bar] = inside
        is_decided = inside.undecided is None
        if found is not None and found.is_ambiguous:
            fill_log.decided += is_decided
            fill_log.ambiguous += not is_decided
            fill_log.missing_intrabar += inside.undecided == "missing"
        if inside.is_position_open:
            fill_log.inside_entries[bar] = highest
            return None
        # Where the intrabar candles do not decide, the rule for one bar holds.
        return inside.exit or found

    def _find_highest_price(self, candidate: int, end: int) -> float:
        """Return the highest price of a position before a bar."""
        bar = self.plan.bars[candidate]
        if bar not in self.fill_log.inside_entries:
            return super()._find_highest_price(candidate, end)
        if end <= bar:
            return self.plan.prices[candidate]
        highs = self.due.reached.high[bar + 1 : end]
        highest = self.fill_log.inside_entries[bar]
        return max(highest, float(highs.max())) if len(highs) else highest


def trade_limits_alone(symbol: SymbolState, cash: float, candidate: int) -> tuple[float, int]:
    """Trade the plan of a symbol that has the account alone, as `symbol_state.trade_alone`.

    Args:
        symbol: The symbol, without a position.
        cash: Quote currency at the start.
        candidate: First entry to try, or NO_CANDIDATE.

    Returns:
        The cash at the end, and the candidate of the position that is open then, or NO_CANDIDATE.

    Raises:
        TypeError: the symbol has no limit orders.
    """
    if not isinstance(symbol, LimitSymbolState):
        msg = "the symbol has no limit orders"
        raise TypeError(msg)
    plan, count = symbol.plan, len(symbol.candles)
    while candidate != NO_CANDIDATE:
        later = None if symbol.guard_log is None else symbol.find_entry_after_pause(candidate)
        if later is not None:
            candidate = later
            continue
        order = plan.get_limit(candidate)
        if order is None:
            bought = symbol.buy(candidate, cash)
        else:
            reserved = symbol.send_limit(candidate, order, cash)
            bought = None if reserved is None else symbol.fill_limit(candidate, order, reserved)
            if reserved is not None and bought is None:
                symbol.note_limit_end(order, order.end)
                candidate = plan.find_buy_after_limit(candidate, order.end)
                continue
        if bought is None:
            candidate = plan.find_buy_after(candidate)
            continue
        cash += bought[4]
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
