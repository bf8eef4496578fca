"""A plain loop over bars as a reference for the engine: slow and simple."""

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray
from onetape.core.strategy_levels import LevelColumns
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.core.untraded import find_untraded_rows
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    FillModel,
    Levels,
    OrderContext,
    RefusedOrder,
    compute_levels,
    find_exit_in_bar,
)
from onetape.engine.annual_volatility import compute_volatility_before
from onetape.engine.exits import EXIT_KINDS, SIGNAL, TARGET, TIME_STOP
from plain_guards import PlainTrade, is_paused
from plain_hours import is_within
from plain_levels import CurrentLevels
from untraded import make_untraded_mask


@dataclass
class PlainResult:
    """Result of the loop: (bar, side, price, amount, kind) of each fill, and the equity."""

    cash: float
    base: float = 0.0
    fills: list[tuple[int, str, float, float, str]] = field(
        default_factory=list[tuple[int, str, float, float, str]]
    )
    equity: list[float] = field(default_factory=list[float])
    refused: list[int] = field(default_factory=list[int])
    ambiguous: int = 0
    unfilled: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Due bar and last bar of each limit order that was not filled."""


@dataclass
class PlainLimit:
    """A limit order that is open."""

    price: float
    due: int
    last: int
    reserved: Any


class PlainLoop:
    """One run; `inside` is the rule for the inside of a bar."""

    def __init__(
        self,
        candles: Candles,
        signal: list[int],
        rules: AccountConfig,
        levels: LevelColumns | None = None,
    ) -> None:
        self.own = CurrentLevels(levels, signal)
        self.candles, self.signal, self.rules = candles, signal, rules
        self.model = FillModel.from_rules(rules)
        self.once = rules.reentry == "new_signal"
        self.done = PlainResult(rules.cash)
        self.entry: int | None = None
        self.entry_price = self.highest = 0.0
        self.gave_up = self.buy_waits = self.sell_waits = self.is_used = False
        self.free_from = 0
        self.paid = 0.0
        self.closed: list[PlainTrade] = []
        self.untraded = find_untraded_rows(candles).tolist()
        self.due = 0
        """Bar at which the BUY that waits was due."""
        self.limit: PlainLimit | None = None
        self.inside_entry: int | None = None
        """Bar inside which the position was entered at its limit; None: at an open."""

    def run(self) -> PlainResult:
        for bar, (open_, high, low, close) in enumerate(
            zip(
                self.candles.open.tolist(),
                self.candles.high.tolist(),
                self.candles.low.tolist(),
                self.candles.close.tolist(),
                strict=True,
            )
        ):
            order = self.signal[bar - 1] if bar else 0
            if bar < 2 or self.signal[bar - 2] != 1:
                self.is_used = False
            self._take(bar, order)
            self.own.take(bar)
            if self.buy_waits and not self._may_enter(int(self.candles.timestamp[bar])):
                self.buy_waits = False
            if self.limit and not self._may_enter(int(self.candles.timestamp[bar])):
                self._end_limit(bar)
            if not self.untraded[bar]:
                self._trade_bar(bar, order, open_, high, low, close)
            if self.limit and bar >= self.limit.last:
                self._end_limit(bar)
            self.done.equity.append(self.done.cash + self.done.base * close)
        if self.limit and self.signal[-1] == -1:
            self._end_limit(len(self.signal) - 1)
        return self.done

    def _trade_bar(
        self, bar: int, order: int, open_: float, high: float, low: float, close: float
    ) -> None:
        """Trade at the open of a bar, and inside it."""
        if self.entry is not None:
            self._at_open(bar, open_)
        elif self.buy_waits:
            self._enter_or_send(bar, open_, order)
        self._fill_limit(bar, open_, low)
        is_inside = self.inside_entry == bar
        if self.entry is not None and not self.gave_up:
            (self._inside_after_limit if is_inside else self.inside)(bar, open_, high, low)
        self.highest = max(self.highest, close if is_inside else high)

    def _may_enter(self, moment: int) -> bool:
        seconds = int(np.diff(self.candles.timestamp).min())
        is_locked = is_paused(self.rules, self.closed, "", moment, seconds)
        return is_within(self.rules, moment) and not is_locked

    def _take(self, bar: int, order: int) -> None:
        """Set the order that is due from this bar on."""
        if self.entry is not None:
            self.sell_waits = self.sell_waits or (order == -1 and self._counts(bar))
            return
        if self.limit is not None:
            if order == -1:
                self._end_limit(bar - 1)
            return
        can_enter = bar >= self.free_from and not (self.is_used and self.once)
        if order == -1:
            self.buy_waits = False
        elif order == 1 and can_enter:
            self.buy_waits, self.due = True, bar

    def _enter_or_send(self, bar: int, open_: float, order: int) -> None:
        limit, last = self.own.limit(self.due), self.due + self.own.expiry - 1
        if limit is None:
            self._enter(bar, open_, order)
            return
        self.buy_waits = False
        if last < bar:
            return
        step = self.rules.trading_rules.price_step
        if step is not None:
            limit = float(max(Decimal(repr(limit)) // step, 1) * step)
        reserved = self.model.compute_limit_values(self.done.cash, limit, self._market(bar))
        if isinstance(reserved, RefusedOrder):
            self.done.refused.append(bar)
            return
        self.limit = PlainLimit(limit, self.due, last, reserved)
        self.own.send_limit()

    def _end_limit(self, bar: int) -> None:
        assert self.limit is not None
        self.done.unfilled.append((self.limit.due, bar))
        self.limit = None

    def _fill_limit(self, bar: int, open_: float, low: float) -> None:
        limit = self.limit
        # Prices are in hundredths, with the noise of floats.
        if limit is None or min(open_, low) > limit.price - 1e-9:
            return
        self.limit, is_inside = None, open_ > limit.price - 1e-9
        price = limit.price if is_inside else open_
        values = self.model.compute_limit_fill(
            limit.reserved, None if is_inside else open_, float(self.candles.volume[bar - 1])
        )
        fill = self.model.make_buy_fill(values, price, is_maker=is_inside)
        self.entry, self.entry_price, self.highest, self.gave_up = bar, price, price, False
        self.inside_entry = bar if is_inside else None
        self.is_used = all(one == 1 for one in self.signal[limit.due - 1 : bar])
        self.paid = -fill.cash_change
        self.own.fill_limit()
        self._book(bar, "buy", fill, "")

    def _inside_after_limit(self, bar: int, open_: float, high: float, low: float) -> None:
        """Leave in the bar of a fill at the limit: by a stop, because a target may be too early."""
        assert self.entry is not None
        step = float(self.rules.trading_rules.price_step or 0)
        levels = compute_levels(
            self.rules.exits, self.entry_price, self.entry_price, 0, step, self.own.row
        )
        self._check_levels(levels, 0, step)
        if self.entry_price <= levels.stop:
            self.leave(bar, self.entry_price, levels.stop_kind)
            return
        if levels.target <= self.entry_price:
            levels = levels._replace(target=math.inf)
        found = find_exit_in_bar(self.entry_price, high, low, levels)
        if found is not None and found.kind != TARGET:
            self.done.ambiguous += found.is_ambiguous
            self.leave(bar, found.price, found.kind)

    def _counts(self, bar: int) -> bool:
        """Return whether the SELL before a bar has a profit above the offset, after both fees."""
        offset = self.rules.exits.exit_profit_offset
        return offset is None or self.candles.close[bar - 1] > self._profitable(offset)

    def _profitable(self, profit: float, fee: float | None = None) -> float:
        """Return the price of a sell with a profit of this part of the entry's cost."""
        rules = self.rules
        bought = 1 / (1 - rules.fee_rate) if rules.fee_currency == "base" else 1 + rules.fee_rate
        break_even = bought / (1 - (rules.fee_rate if fee is None else fee))
        return self.entry_price * ((1 + profit) * break_even)

    def _at_open(self, bar: int, open_: float) -> None:
        assert self.entry is not None
        bars = self.rules.exits.time_stop_bars
        if self.sell_waits:
            self.leave(bar, open_, SIGNAL)
            self.sell_waits = False
        elif bars is not None and not self.gave_up and bar >= self.entry + bars:
            self.leave(bar, open_, TIME_STOP)

    def inside(self, bar: int, open_: float, high: float, low: float) -> None:
        assert self.entry is not None
        step = float(self.rules.trading_rules.price_step or 0)
        levels = compute_levels(
            self.rules.exits, self.entry_price, self.highest, bar - self.entry, step, self.own.row
        )
        self._check_levels(levels, bar - self.entry, step)
        found = find_exit_in_bar(open_, high, low, levels)
        if found is not None:
            self.done.ambiguous += found.is_ambiguous
            self.leave(bar, found.price, found.kind)

    def _check_levels(self, levels: Levels, age: int, step: float) -> None:
        """Hold the engine's levels to the formulas of docs/rules.md."""
        exits, price = self.rules.exits, self.entry_price
        begun = [ratio for start, ratio in exits.target_table.items() if start <= age]
        begun += [] if exits.take_profit is None else [exits.take_profit]
        fee = self.rules.target_fee_rate
        targets = [
            self._profitable(ratio, fee) if exits.net_targets else price * (1 + ratio)
            for ratio in begun
        ]
        own = self.own.row
        targets += [] if own.target is None else [own.target]
        # A limit is of whole price steps.
        target = min(targets, default=math.inf)
        assert target * (1 - 1e-12) <= levels.target <= target * (1 + 1e-12) + step
        stops = [0.0] if exits.stop_loss is None else [price * (1 - exits.stop_loss)]
        stops += [] if own.stop is None else [own.stop]
        begins = even = 0.0
        if exits.trailing_offset is not None:
            begins = self._profitable(exits.trailing_offset)
        if exits.trailing_stop is not None and self.highest > begins:
            stops.append(self.highest * (1 - exits.trailing_stop))
        if exits.trailing_stop_before_offset is not None:
            stops.append(min(self.highest, begins) * (1 - exits.trailing_stop_before_offset))
        if exits.break_even is not None:
            even = self._profitable(exits.break_even)
            stops.append(self._profitable(0.0) if self.highest > even else 0.0)
        is_at_offset = any(math.isclose(self.highest, one, rel_tol=1e-12) for one in (begins, even))
        assert is_at_offset or math.isclose(max(levels.stop, 0.0), max(stops), rel_tol=1e-12)

    def _market(self, bar: int) -> OrderContext:
        """Return what is known about the market when an entry is sent at the open of a bar."""
        seconds = int(self.candles.timestamp[1] - self.candles.timestamp[0])
        known = compute_volatility_before(
            self.candles.close, bar, self.rules.volatility_bars, seconds
        )
        return OrderContext(float(self.candles.volume[bar - 1]), None, known)

    def _enter(self, bar: int, price: float, order: int) -> None:
        fill = self.model.buy(self.done.cash, price, self._market(bar))
        self.buy_waits = False
        if isinstance(fill, RefusedOrder):
            self.done.refused.append(bar)
            return
        self.entry, self.entry_price, self.highest, self.gave_up = bar, price, price, False
        self.inside_entry = None
        self.is_used = order == 1
        self.paid = -fill.cash_change
        self.own.enter()
        self._book(bar, "buy", fill, "")

    def leave(self, bar: int, price: float, kind: int) -> None:
        market = OrderContext(float(self.candles.volume[bar - 1]))
        fill = self.model.sell(self.done.base, price, market, is_maker=kind == TARGET)
        if isinstance(fill, RefusedOrder):
            self.done.refused.append(bar)
            self.gave_up = True
            return
        self.entry, self.sell_waits = None, False
        moment, ratio = int(self.candles.timestamp[bar]), fill.cash_change / self.paid - 1
        is_inside = kind not in (SIGNAL, TIME_STOP)
        self.closed.append(PlainTrade("", moment, (EXIT_KINDS[kind],), ratio, is_inside))
        self.free_from = bar + 1 + self.rules.cooldown_bars
        self._book(bar, "sell", fill, EXIT_KINDS[kind])

    def _book(self, bar: int, side: str, fill: Any, kind: str) -> None:
        self.done.cash += fill.cash_change
        self.done.base += fill.base_change
        self.done.fills.append((bar, side, fill.price, fill.amount, kind))


def run_plain(
    candles: Candles,
    signal: list[int],
    rules: AccountConfig,
    levels: LevelColumns | None = None,
) -> PlainResult:
    """Trade bar by bar, by the rule for one bar."""
    return PlainLoop(candles, signal, rules, levels).run()


def walk(seed: int, count: int, start: float = 100.0, move: float = 0.02) -> Candles:
    """Return a random walk with gaps between candles, wicks and volume, in hundredths."""
    rng = np.random.default_rng(seed)
    close = _round_to_cents(start * np.exp(np.cumsum(rng.normal(0, move, count)))) + 0.05
    gap = np.exp(rng.normal(0, move / 2, count) * (rng.random(count) < 0.2))
    open_ = _round_to_cents(np.append(start, close[:-1]) * gap) + 0.01
    up, down = np.exp(np.abs(rng.normal(0, move, (2, count))))
    high = _round_to_cents(np.maximum(open_, close) * up) + 0.01
    low = np.maximum(_round_to_cents(np.minimum(open_, close) / down) - 0.01, 0.01)
    flat = make_untraded_mask(rng, count)
    for bar in np.flatnonzero(flat).tolist():
        open_[bar] = high[bar] = low[bar] = close[bar] = close[bar - 1]
    timestamp = np.arange(count, dtype=np.int64) * 3_600
    volume = np.where(rng.random(count) < 0.95, _round_to_cents(rng.gamma(0.8, 500.0, count)), 0.0)
    volume[flat] = 0.0
    return Candles.from_columns(timestamp, open_, high, low, close, volume)


def _round_to_cents(values: FloatArray) -> FloatArray:
    return np.asarray(np.round(values, 2), dtype=np.float64)


def make_signals(seed: int, count: int) -> list[int]:
    """Return signals: some strategies give BUY for long, some for one bar, some never SELL."""
    rng = np.random.default_rng(seed)
    style = rng.integers(4)
    if style == 0:
        return rng.integers(-1, 2, count).tolist()
    if style == 1:
        return np.repeat(rng.integers(-1, 2, count), rng.integers(1, 12, count))[:count].tolist()
    sells = 0.03 if style == 2 else 0.0
    return rng.choice([1, -1, 0], count, p=[0.07, sells, 0.93 - sells]).tolist()


#: A market with steps of a hundredth and a minimum order that small accounts run into.
STEPS = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal(5))
_SIZINGS: dict[str, tuple[float, ...]] = {
    "quote_amount": (15.0, 400.0, 2_000.0),
    "base_amount": (0.5, 9.0),
    "equity_share": (0.3, 1.0),
    "risk_per_trade": (0.01, 0.2),
    "volatility_target": (0.3, 2.0),
}


@st.composite
def draw_exit_rules(draw: st.DrawFn) -> ExitConfig:
    """Return any mix of exits, none included."""
    part = st.sampled_from([None, 0.004, 0.02, 0.05, 0.15])
    table = draw(st.sampled_from([{}, {0: 0.05, 3: 0.01, 9: -0.02}, {2: 0.03}]))
    trailing = draw(part)
    offset = None if trailing is None else draw(st.sampled_from([None, None, 0.0, 0.01, 0.06]))
    return ExitConfig(
        stop_loss=draw(part),
        take_profit=draw(part),
        trailing_stop=trailing,
        trailing_offset=offset,
        trailing_stop_before_offset=None if offset is None else draw(part),
        break_even=draw(st.sampled_from([None, None, 0.0, 0.01, 0.04])),
        net_targets=draw(st.booleans()),
        exit_profit_offset=draw(st.sampled_from([None, None, -0.02, 0.0, 0.03])),
        time_stop_bars=draw(st.sampled_from([None, 1, 2, 7, 40])),
        target_table=table,
    )


@st.composite
def draw_rules(draw: st.DrawFn) -> AccountConfig:
    """Return any rules: exits, sizings, slippage, fees and steps mixed."""
    exits = draw(draw_exit_rules())
    names = ["all_in", *_SIZINGS]
    if exits.first_stop is None:
        names.remove("risk_per_trade")
    sizing = draw(st.sampled_from(names))
    given: dict[str, Any] = {"sizing": sizing}
    if sizing != "all_in":
        given[sizing] = draw(st.sampled_from(_SIZINGS[sizing]))
    return AccountConfig(
        cash=draw(st.sampled_from([7.0, 20.0, 1_000.0, 1e6])),
        fee_rate=draw(st.sampled_from([0.0, 0.001, 0.01])),
        maker_fee_rate=draw(st.sampled_from([None, 0.0, 0.0005])),
        fee_currency=draw(st.sampled_from(["quote", "base"])),
        slippage_bps=draw(st.sampled_from([0.0, 5.0])),
        spread_bps=draw(st.sampled_from([0.0, 3.0])),
        volume_impact=draw(st.sampled_from([0.0, 0.0, 0.1])),
        max_volume_share=draw(st.sampled_from([None, None, 0.0005, 0.03])),
        volatility_bars=5,
        exits=exits,
        cooldown_bars=draw(st.sampled_from([0, 0, 1, 6])),
        reentry=draw(st.sampled_from(["new_signal", "while_signal"])),
        trading_rules=draw(st.sampled_from([NO_TRADING_RULES, STEPS])),
        **given,
    )


def double_money(rules: AccountConfig) -> AccountConfig:
    """Return rules for prices twice as high: money is doubled, amounts are unchanged."""
    trading_rules = rules.trading_rules
    return replace(
        rules,
        cash=rules.cash * 2,
        quote_amount=rules.quote_amount and rules.quote_amount * 2,
        trading_rules=TradingRules(
            trading_rules.price_step and trading_rules.price_step * 2,
            trading_rules.amount_step,
            trading_rules.min_amount,
            trading_rules.min_notional * 2,
        ),
    )
