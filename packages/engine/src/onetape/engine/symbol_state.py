"""Cash and coins while a plan is carried out: plain numbers, one round of the loop for a trade."""

from collections.abc import Callable
from typing import Final

from onetape.core.candles import Candles
from onetape.core.price_steps import price_step_at
from onetape.engine.account_config import AccountConfig
from onetape.engine.annual_volatility import volatility_before
from onetape.engine.due_orders import DueOrders
from onetape.engine.entry_plan import NONE, Plan
from onetape.engine.exits import SIGNAL, TARGET, TIME_STOP, levels_of
from onetape.engine.fill_log import Book
from onetape.engine.fills import (
    NO_MARKET,
    FillModel,
    Market,
    Numbers,
)
from onetape.engine.intrabar import Detail, Told, exit_told
from onetape.engine.month_models import MonthModels
from onetape.engine.ratios import candle_seconds
from onetape.engine.refused_orders import Refused

#: Exits that are orders of an open.
_AT_OPEN: Final = (SIGNAL, TIME_STOP)


class SymbolState:
    """One symbol while it is traded: candles, possible entries and exits, and its book."""

    def __init__(
        self,
        candles: Candles,
        plan: Plan,
        book: Book,
        rules: AccountConfig,
        all_candles: Candles,
        detail: Detail | None,
        due: DueOrders,
    ) -> None:
        """Prepare; nothing is traded yet.

        Args:
            candles: Those that are traded.
            plan: Their entries and exits.
            book: Takes the fills.
            rules: Money, fees and market.
            all_candles: These, and those before them.
            detail: Finer candles, asked about exits inside a bar.
            due: What was due on each candle.
        """
        self.due = due
        self.candles = candles
        self.plan = plan
        self.book = book
        self.model = book.model
        self.months = MonthModels(rules) if rules.steps.months else None
        """Models of months with a finer price step; None: one model holds for all."""
        self._all = all_candles
        self._skipped = len(all_candles) - len(candles)
        self.detail = detail
        self._exits = rules.exits
        self._steps = rules.steps
        self._volatility = self._volatility_of(rules)
        self._needs_volume = bool(rules.volume_impact)
        self.needs_market = self._needs_volume or self._volatility is not None

    def _volatility_of(self, rules: AccountConfig) -> Callable[[int], float | None] | None:
        if rules.sizing != "volatility_target":
            return None
        # Of all candles: the range alone may be a single one.
        seconds = candle_seconds(self._all.timestamp)
        return lambda bar: volatility_before(
            self._all.close, self._skipped + bar, rules.volatility_bars, seconds
        )

    def _model_of(self, bar: int) -> FillModel:
        """Return the fill model with the price step of a bar's month."""
        if self.months is None:
            return self.model
        return self.months.at(int(self.candles.timestamp[bar]))

    def has_price_step(self, bar: int) -> bool:
        """Return whether the prices of a bar's month have a step."""
        return self._model_of(bar).price_step > 0

    def note_waits(self, free: int, *, is_held: bool) -> None:
        """Write down which orders waited for a candle with a trade, and which one still waits.

        Args:
            free: First bar at which a BUY may be due after the last exit.
            is_held: Whether a position is open at the end.
        """
        due, book = self.due, self.book
        if due.untraded is not None:
            book.waited = due.waits(book.entry_bars(), book.exit_bars(), book.exit_kinds)
            book.waiting = due.left(book.last_entry, free, is_held=is_held)

    def market(self, bar: int, equity: float | None = None) -> Market:
        """Return what an order in this bar meets."""
        return Market(
            self._volume_before(bar), equity, self._volatility(bar) if self._volatility else None
        )

    def _volume_before(self, bar: int) -> float:
        """Return the volume of the candle before a bar, which is known when an order is sent."""
        number = self._skipped + bar - 1
        return float(self._all.volume[number]) if number >= 0 else 0.0

    def buy(self, row: int, cash: float, equity: float | None = None) -> Numbers | None:
        """Enter; return the fill, or None where the order was refused."""
        plan, book = self.plan, self.book
        bar, price = plan.bars[row], plan.prices[row]
        market = NO_MARKET
        if self.needs_market:
            market = self.market(bar, equity)
        elif equity is not None:
            market = Market(0.0, equity)
        model = self.model if self.months is None else self._model_of(bar)
        numbers = model.buy_numbers(cash, price, market)
        if isinstance(numbers, Refused):
            book.refused.append((bar, numbers))
            return None
        book.add_buy(bar, numbers, price)
        return numbers

    def sell(self, row: int, bar: int) -> Numbers | None:
        """Leave; return the fill, or None where the order was refused."""
        plan, book = self.plan, self.book
        kind, price = plan.exit_kinds[row], plan.exit_prices[row]
        if self.detail is None:
            book.ambiguous += row in plan.ambiguous
        volume = self._volume_before(bar) if self._needs_volume else 0.0
        model = self.model if self.months is None else self._model_of(bar)
        numbers = model.sell_numbers(book.base, price, volume, kind == TARGET)
        if isinstance(numbers, Refused):
            book.refused.append((bar, numbers))
            return None
        book.add_sell(bar, numbers, price, kind)
        return numbers

    def exit_of(self, row: int) -> int:
        """Return the bar of the exit of a position that is held; finer candles may move it.

        Args:
            row: Its row.
        """
        bar = self.plan.exit_of(row)
        if self.detail is None or row in self.plan.given_up:
            return bar
        while bar < len(self.candles) and not self.is_exit_at_open(row, bar):
            if bar in self.book.told:
                break
            told = self._ask(self.detail, row, bar)
            if not told.goes_on:
                if told.found is not None:
                    self.plan.replace_exit(row, told.found)
                break
            bar = self.plan.exit_after(row, bar, self._highest(row, bar + 1))
        return bar

    def is_exit_at_open(self, row: int, bar: int) -> bool:
        """Return whether a row's exit fills at the open of its bar, whatever came later in it."""
        plan = self.plan
        if plan.exit_kinds[row] in _AT_OPEN:
            return True
        is_inside = row in plan.ambiguous or bar in self.book.told or bar == plan.bars[row]
        return not is_inside and plan.exit_prices[row] == self.candles.open[bar]

    def _highest(self, row: int, end: int) -> float:
        """Return the highest price of a position before a bar."""
        entry, carried = self.plan.bars[row], self.book.carried
        highest = carried.highest if entry < 0 and carried is not None else self.plan.prices[row]
        highs = self.due.reached.high[max(entry, 0) : end]
        return max(highest, float(highs.max())) if len(highs) else highest

    def _ask(self, detail: Detail, row: int, bar: int) -> Told:
        """Return what finer candles say of a bar inside which a level may end a position."""
        plan, book, candles = self.plan, self.book, self.candles
        moment, age = int(candles.timestamp[bar]), bar - plan.bars[row]
        step = price_step_at(self._steps, moment)
        levels = levels_of(self._exits, plan.prices[row], self._highest(row, bar), age, step)
        low, high = float(candles.low[bar]), float(candles.high[bar])
        levels = levels.raised_to(float(candles.open[bar]))
        told = exit_told(detail, moment, levels, low, high)
        book.told[bar] = told
        if row in plan.ambiguous:
            is_decided = told.silence is None
            book.decided += is_decided
            book.ambiguous += not is_decided
            book.wanting += told.silence == "missing"
        return told


def trade_alone(symbol: SymbolState, cash: float, row: int, *, is_held: bool) -> tuple[float, int]:
    """Carry out one symbol's plan with an account of its own.

    Args:
        symbol: The symbol.
        cash: Quote currency at the start.
        row: First entry to try, or NONE; where `is_held`, the position that is held.
        is_held: Whether the range begins with a position.

    Returns:
        The cash at the end, and the row of the position that is open then, or NONE.
    """
    plan, count = symbol.plan, len(symbol.candles)
    exit_bars = plan.exit_bars
    while row != NONE:
        if not is_held:
            bought = symbol.buy(row, cash)
            if bought is None:
                row = plan.buy_after(row)
                continue
            cash += bought[4]
        is_held = False
        bar = exit_bars[row]
        if bar < 0 or symbol.detail is not None:
            bar = symbol.exit_of(row)
        while bar < count:
            sold = symbol.sell(row, bar)
            if sold is not None:
                cash += sold[4]
                break
            bar = plan.exit_by_signal(row, bar)
        else:
            return cash, row
        row = plan.entry_after(row, bar)
    return cash, NONE
