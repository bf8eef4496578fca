"""A broker over candles in memory, which carries out the stepper's orders (onetape.engine).

Every candle of all series becomes events, in the order of time. Orders fill by the engine's own
fill model, at once. The stepper decides when an order is due.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import Candle, Candles
from onetape.core.price_steps import add_month_steps, find_price_step
from onetape.core.strategy_levels import LevelRow
from onetape.core.untraded import find_untraded_rows
from onetape.engine import (
    AccountConfig,
    CancelLimit,
    CandleClosed,
    CandleFacts,
    CandlesOpened,
    ClosedTrade,
    Enter,
    EntryFilled,
    EntryRefused,
    Exit,
    ExitFilled,
    ExitRefused,
    FillLimit,
    FillModel,
    Intent,
    LimitSent,
    ModelFill,
    OpenedCandle,
    OrderContext,
    RefusedOrder,
    StepEvent,
    StepRules,
    StepState,
    StrategySignal,
    SymbolSeries,
    compute_volatility_before,
    make_rules_at,
    step,
)
from onetape.engine.exact_cash import ExactCash
from onetape.engine.ratios import compute_candle_seconds

#: Side, bar, price, amount and kind of a fill; the price and amount of a refused order are 0.
Made = tuple[str, int, float, float, str]
_OF_EQUITY = ("equity_share", "risk_per_trade", "volatility_target")
Step = Callable[[StepRules, StepState, StepEvent], tuple[StepState, list[Intent]]]


class SymbolMarket:
    """One symbol: its candles, coins and fills."""

    def __init__(self, series: SymbolSeries, rules: AccountConfig) -> None:
        self.name, self.all, self.skipped = series.symbol, series.candles, series.start_index
        self.candles: Candles = series.candles[series.start_index :]
        self.rules = replace(
            rules, trading_rules=add_month_steps(series.trading_rules, series.candles)
        )
        self.signals = series.signal[series.start_index :].tolist()
        self.levels = series.levels
        rows = find_untraded_rows(series.candles, has_volume=series.has_volume)
        self.untraded = rows[series.start_index :].tolist()
        columns = (
            self.candles.timestamp, self.candles.open, self.candles.high, self.candles.low,
            self.candles.close, self.candles.volume,
        )  # fmt: skip
        self.rows = [Candle(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
        self.bar = -1
        """Bar that is open or closed last."""
        self.base, self.is_held, self.paid = 0.0, False, 0.0
        self.made: list[Made] = []
        self.refused: list[int] = []
        self.ambiguous = 0
        self.facts: list[CandleFacts] = []
        self.fact = CandleFacts(Candle(0, 0, 0, 0, 0, 0))
        self.reserved: Any = None
        """Most expensive fill of the limit order that is open; None: none is."""
        self.bought = 0
        """Open of the candle whose BUY led to that order."""
        self.unfilled = 0

    @property
    def price_step(self) -> float:
        return find_price_step(self.rules.trading_rules, self.rows[self.bar].timestamp)

    @property
    def own_levels(self) -> LevelRow | None:
        """Return the strategy's levels of the candle."""
        return None if self.levels is None else self.levels.get_row(self.skipped + self.bar)

    @property
    def model(self) -> FillModel:
        return FillModel.from_rules(make_rules_at(self.rules, self.rows[self.bar].timestamp))

    def market(self, equity: float | None) -> OrderContext:
        """Return the context of an order in the open candle."""
        number = self.skipped + self.bar
        volume = float(self.all.volume[number - 1]) if number else 0.0
        known = None
        if self.rules.sizing == "volatility_target":
            seconds = compute_candle_seconds(self.all.timestamp)
            known = compute_volatility_before(
                self.all.close, number, self.rules.volatility_bars, seconds
            )
        return OrderContext(volume, equity, known)

    def last_close(self, moment: int) -> float:
        """Return the newest close that is known at a moment."""
        bar = int(np.searchsorted(self.candles.timestamp, moment)) - 1
        return self.rows[bar].close if bar >= 0 else self.rows[0].open


class StepBroker:
    """An account that runs the stepper over candles in memory."""

    def __init__(
        self,
        series: Sequence[SymbolSeries],
        account: AccountConfig,
        max_open_trades: int | None = None,
        stepping: Step = step,
    ) -> None:
        self.markets = {one.symbol: SymbolMarket(one, account) for one in series}
        lengths = [compute_candle_seconds(market.all.timestamp) for market in self.markets.values()]
        self.rules = StepRules.from_account(
            account,
            tuple(self.markets),
            max_open_trades,
            candle_seconds=min(filter(None, lengths), default=1),
        )
        self.closed: list[ClosedTrade] = []
        """All trades that have been closed, as they came."""
        self.state = StepState.make_flat(self.rules)
        self.cash = float(account.cash)
        self._exact = None
        if len(series) > 1:
            self._exact = ExactCash([market.rules for market in self.markets.values()])
        self._asks_equity = account.sizing in _OF_EQUITY and len(series) > 1
        self._step = stepping
        self.moments = sorted({row.timestamp for m in self.markets.values() for row in m.rows})

    def run(self, until: int | None = None) -> "StepBroker":
        """Trade all candles that open before a moment."""
        for moment in [one for one in self.moments if until is None or one < until]:
            self.trade(moment)
        return self

    def trade(self, moment: int) -> None:
        """Trade the candles that open at a moment, from their first trade to their signals."""
        now = [market for market in self.markets.values() if self._begins(market, moment)]
        opened = [market for market in now if not market.untraded[market.bar]]
        self.react(
            CandlesOpened(
                tuple(
                    OpenedCandle(m.name, moment, m.rows[m.bar].open, m.price_step) for m in opened
                )
            )
        )
        for market in now:
            self.react(CandleClosed(market.name, market.rows[market.bar], market.price_step))
        for market in now:
            signal, levels = market.signals[market.bar], market.own_levels
            # A BUY while a limit order is open has no effect.
            can_enter = self.state.symbols[market.name].limit is None
            self.react(StrategySignal(market.name, moment, signal, levels=levels))
            market.facts.append(
                replace(market.fact, signal=signal, levels=levels, can_enter=can_enter)
            )

    def _begins(self, market: SymbolMarket, moment: int) -> bool:
        bar = market.bar + 1
        if bar >= len(market.rows) or market.rows[bar].timestamp != moment:
            return False
        market.bar = bar
        market.fact = CandleFacts(market.rows[bar], has_trade=not market.untraded[bar])
        return True

    def react(self, event: StepEvent) -> None:
        """Pass an event to the stepper, and carry out the orders that follow."""
        events = deque[StepEvent]([event])
        waiting = deque[Intent]()
        while events or waiting:
            if events:
                self.state, intents = self._step(self.rules, self.state, events.popleft())
                waiting.extend(intents)
            else:
                event_ = self._carry_out(waiting.popleft())
                if event_ is not None:
                    events.append(event_)

    def _carry_out(self, intent: Intent) -> StepEvent | None:
        match intent:
            case Enter():
                return self._enter(intent) if intent.limit is None else self._send_limit(intent)
            case Exit():
                return self._exit(intent)
            case FillLimit():
                return self._fill_limit(intent)
            case CancelLimit():
                self.release(self.markets[intent.symbol])
                self.markets[intent.symbol].unfilled += 1
                return None

    def _send_limit(self, intent: Enter) -> StepEvent:
        market, limit = self.markets[intent.symbol], intent.limit
        assert limit is not None
        equity = self._equity(intent.timestamp) if self._asks_equity else None
        found = market.model.compute_limit_values(self.cash, limit, market.market(equity))
        if isinstance(found, RefusedOrder):
            market.refused.append(market.bar)
            return EntryRefused(intent.symbol)
        market.reserved = found
        if self._exact is not None:
            number, has_step = [*self.markets].index(market.name), bool(market.price_step)
            self.cash = self._exact.reserve(number, found, has_price_step=has_step)
        order = self.state.symbols[market.name].order
        assert order is not None
        assert order.limit is not None
        assert market.levels is not None
        signal_bar = order.limit.last - market.levels.expiry_candles
        market.bought = market.rows[signal_bar].timestamp
        return LimitSent(intent.symbol)

    def release(self, market: SymbolMarket) -> None:
        assert market.reserved is not None
        market.reserved = None
        if self._exact is not None:
            self.cash = self._exact.release([*self.markets].index(market.name))

    def _fill_limit(self, intent: FillLimit) -> StepEvent:
        market = self.markets[intent.symbol]
        assert intent.timestamp == market.rows[market.bar].timestamp
        reserved, model = market.reserved, market.model
        self.release(market)
        opened = None if intent.is_inside else intent.price
        values = model.compute_limit_fill(reserved, opened, market.market(None).volume)
        fill = model.make_buy_fill(values, intent.price, is_maker=intent.is_inside)
        self._book(market, fill, "")
        market.is_held, market.paid = True, -fill.cash_change
        market.fact = replace(
            market.fact,
            entry_price=intent.price,
            is_entry_inside=intent.is_inside,
            entry_signal=market.bought,
        )
        return EntryFilled(intent.symbol, intent.price)

    def _enter(self, intent: Enter) -> StepEvent:
        market = self.markets[intent.symbol]
        assert intent.timestamp == market.rows[market.bar].timestamp
        equity = self._equity(intent.timestamp) if self._asks_equity else None
        fill = market.model.buy(self.cash, intent.price, market.market(equity))
        if isinstance(fill, RefusedOrder):
            market.refused.append(market.bar)
            return EntryRefused(intent.symbol)
        self._book(market, fill, "")
        market.is_held, market.paid = True, -fill.cash_change
        market.fact = replace(market.fact, entry_price=intent.price)
        return EntryFilled(intent.symbol, intent.price)

    def _exit(self, intent: Exit) -> StepEvent:
        market = self.markets[intent.symbol]
        assert intent.timestamp == market.rows[market.bar].timestamp
        is_maker = intent.kind == "target"
        market.ambiguous += intent.is_ambiguous
        fill = market.model.sell(market.base, intent.price, market.market(None), is_maker=is_maker)
        if isinstance(fill, RefusedOrder):
            market.refused.append(market.bar)
            market.fact = replace(market.fact, exit="refused")
            return ExitRefused(intent.symbol)
        self._book(market, fill, intent.kind)
        market.is_held = False
        order = self.state.symbols[market.name].order
        is_inside = order is not None and order.inside is not None
        market.fact = replace(market.fact, exit="filled", is_exit_inside=is_inside)
        trade = ClosedTrade(
            intent.symbol,
            intent.timestamp,
            fill.cash_change / market.paid - 1.0,
            is_stop=intent.kind in ("stop_loss", "trailing_stop"),
            is_inside=is_inside,
        )
        self.closed.append(trade)
        return ExitFilled(intent.symbol, trade=trade)

    def _book(self, market: SymbolMarket, fill: ModelFill, kind: str) -> None:
        numbers: Any = fill[1:5] + fill[6:8]
        if self._exact is None:
            self.cash += fill.cash_change
        else:
            number = [*self.markets].index(market.name)
            self.cash = self._exact.book(
                number, numbers, is_maker=fill.is_maker, has_price_step=bool(market.price_step)
            )
        market.base += fill.base_change
        market.made.append((fill.side, market.bar, fill.price, fill.amount, kind))

    def _equity(self, moment: int) -> float | None:
        held = [market for market in self.markets.values() if market.is_held]
        is_reserved = any(market.reserved is not None for market in self.markets.values())
        if not held and not is_reserved:
            return None
        equity = self.cash
        if is_reserved and self._exact is not None:
            equity = self._exact.compute_total()
        for market in held:
            equity += market.base * market.last_close(moment)
        return equity
