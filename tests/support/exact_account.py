"""The rules of the engine once more, in Decimals, bar by bar, and with none of its code.

Written from docs and docstrings: prices in whole hundredths go in as integers, and every fill comes
out as it is booked. Several symbols share one account. Slow, and easy to check by hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise

from cent_walk import Prices, of
from onetape.core.strategy_levels import LevelColumns
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig
from plain_guards import PlainTrade, is_paused
from plain_hours import is_within
from plain_levels import FoldedLevels

EXACT = Context(prec=45)
ZERO, ONE = Decimal(0), Decimal(1)
#: Part of a step that counts as zero (onetape.core.trading_rules).
TOLERANCE = Decimal("1e-6")
#: Part of the cash by which an order may cost more than there is, and which an order without an
#: amount step may leave of it: then the order spends all of the cash.
CASH_NOISE = Decimal("1e-12")
#: Factor of a price that gives another one right above it.
ABOVE = Decimal("1.00000000000000000001")


@dataclass(frozen=True)
class ExactFill:
    """A fill, exact."""

    bar: int
    side: str
    price: Decimal
    amount: Decimal
    fee: Decimal
    """Fee of the fill, in the coin bought where the rules state so."""
    cash_change: Decimal
    base_change: Decimal
    kinds: tuple[str, ...] = ()
    """Exit kind of a sell; two where both stops are at one price."""


@dataclass(frozen=True)
class _ExactLimit:
    """A limit order that is open."""

    price: Decimal
    due: int
    last: int
    amount: Decimal
    reserved: Decimal
    """Money that the order has taken from the cash."""


@dataclass
class _ExactSymbol:
    """One symbol while it is traded."""

    prices: Prices
    signal: list[int]
    rules: AccountConfig
    trading_rules: TradingRules
    name: str
    own: FoldedLevels
    base: Decimal = ZERO
    paid: Decimal = ZERO
    """Cost of the last buy."""
    entry: int | None = None
    entry_price: Decimal = ZERO
    highest: Decimal = ZERO
    gave_up: bool = False
    buy_waits: bool = False
    sell_waits: bool = False
    is_used: bool = False
    """Whether the run of BUYs that is on has led to an entry."""
    run: int = 0
    """Number of the run of BUYs that is on, or was on last."""
    skipped_run: int = 0
    """The run that was counted as skipped last."""
    free_from: int = 0
    fills: list[ExactFill] = field(default_factory=list[ExactFill])
    refused: list[int] = field(default_factory=list[int])
    ambiguous: int = 0
    due: int = 0
    """Bar at which the BUY that waits was due."""
    limit: _ExactLimit | None = None
    unfilled: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Due bar and last bar of each limit order that was not filled."""
    inside_entry: int | None = None
    """Bar inside which the position was entered at its limit; None: at an open."""
    price_steps: dict[tuple[int, int], Decimal] = field(
        default_factory=dict[tuple[int, int], Decimal]
    )
    """Price step of each month, by year and month."""


@dataclass
class ExactAccount:
    """Result of a run."""

    symbols: list[_ExactSymbol]
    cash: Decimal
    skipped: int = 0
    closed: list[PlainTrade] = field(default_factory=list[PlainTrade])


def exact_run(
    markets: Sequence[tuple[Prices, Sequence[int], TradingRules]],
    rules: AccountConfig,
    places: int | None = None,
    levels: Sequence[LevelColumns] | None = None,
) -> ExactAccount:
    """Trade all markets on one account, each with its steps and its strategy's levels."""
    symbols = [
        _ExactSymbol(
            prices,
            list(signal),
            rules,
            steps,
            str(number),
            FoldedLevels(None if levels is None else levels[number], list(signal)),
        )
        for number, (prices, signal, steps) in enumerate(markets)
    ]
    account = ExactAccount(symbols, of(rules.cash))
    moments = sorted({time for symbol in symbols for time in symbol.prices.timestamp})
    for moment in moments:
        now = [
            (symbol, moment // 3_600)
            for symbol in symbols
            if moment // 3_600 < len(symbol.prices.open)
        ]
        entered = [symbol for symbol, _ in now if symbol.entry is not None]
        for symbol, bar in now:
            _take(account, symbol, bar)
        traded = [(symbol, bar) for symbol, bar in now if not _is_untraded(symbol, bar)]
        for symbol, bar in traded:
            if symbol in entered:
                _leave_at_open(account, symbol, bar)
        for symbol, bar in traded:
            if symbol not in entered:
                _enter(account, symbol, bar, places or len(symbols), moment)
        for symbol, _ in now:
            if symbol.buy_waits and is_paused(rules, account.closed, symbol.name, moment):
                symbol.buy_waits = False
        for symbol, bar in now:
            _follow_limit(account, symbol, bar, moment)
            if not _is_untraded(symbol, bar):
                _leave_inside(account, symbol, bar)
                is_inside = symbol.inside_entry == bar
                top = symbol.prices.close[bar] if is_inside else symbol.prices.high[bar]
                symbol.highest = max(symbol.highest, top)
    return account


def _order(symbol: _ExactSymbol, bar: int) -> int:
    return symbol.signal[bar - 1] if bar else 0


def _is_untraded(symbol: _ExactSymbol, bar: int) -> bool:
    prices = symbol.prices
    return any(prices.volume) and not prices.volume[bar] and prices.high[bar] == prices.low[bar]


def _take(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    """Set the order that is due from the open of a bar on, until something is traded."""
    symbol.own.take(bar)
    order, before = _order(symbol, bar), symbol.signal[bar - 2] if bar > 1 else 0
    if order == 1 and before != 1:
        symbol.run += 1
        symbol.is_used = False
    if symbol.entry is not None:
        symbol.sell_waits |= order == -1 and _sell_counts(symbol, bar)
        return
    if symbol.limit is not None:
        if order == -1:
            _end_limit(account, symbol, bar - 1)
        return
    if order == -1:
        symbol.buy_waits = False
    elif order == 1 and bar >= symbol.free_from:
        if not symbol.is_used or symbol.rules.reentry == "while_signal":
            symbol.buy_waits, symbol.due = True, bar
    symbol.buy_waits &= is_within(symbol.rules, symbol.prices.timestamp[bar])


def _sell_counts(symbol: _ExactSymbol, bar: int) -> bool:
    """Return whether the SELL of the bar before has a profit above the offset."""
    offset = symbol.rules.exits.exit_profit_offset
    return offset is None or symbol.prices.close[bar - 1] > _net_price(symbol, offset)


def _net_price(symbol: _ExactSymbol, profit: float, *, is_limit: bool = False) -> Decimal:
    """Return the price of a sell with a profit of this part of the entry's cost, fees included."""
    rules, fee = symbol.rules, of(symbol.rules.fee_rate)
    has_maker_fee = is_limit and rules.maker_fee_rate is not None
    sold = 1 - (of(rules.maker_fee_rate or 0.0) if has_maker_fee else fee)
    cost = EXACT.divide(ONE, 1 - fee) if rules.fee_currency == "base" else 1 + fee
    return symbol.entry_price * (1 + of(profit)) * EXACT.divide(cost, sold)


def _leave_at_open(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    assert symbol.entry is not None
    open_, bars = symbol.prices.open[bar], symbol.rules.exits.time_stop_bars
    if symbol.sell_waits:
        symbol.sell_waits = False
        _sell(account, symbol, bar, open_, ("signal",))
    elif symbol.gave_up:
        return
    elif bars is not None and bar - symbol.entry >= bars:
        _sell(account, symbol, bar, open_, ("time_stop",))
    else:
        _is_sold_beyond_level(account, symbol, bar)


def _is_sold_beyond_level(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> bool:
    """Sell where a bar opens beyond a level; return whether it does."""
    open_ = symbol.prices.open[bar]
    stop, kinds, target = _levels(symbol, bar)
    if stop is not None and open_ <= stop:
        _sell(account, symbol, bar, open_, kinds)
    elif target is not None and open_ >= target:
        _sell(account, symbol, bar, open_, ("target",))
    else:
        return False
    return True


def _leave_after_limit(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    """Sell in the bar of a fill at the limit: the low came after it, the high maybe before."""
    prices, price = symbol.prices, symbol.entry_price
    stop, kinds, target = _levels(symbol, bar)
    if stop is not None and price <= stop:
        _sell(account, symbol, bar, price, kinds, is_inside=True)
        return
    if target is not None and target <= price:
        target = None
    reached = target is not None and prices.high[bar] >= target
    top = prices.high[bar] if target is None else min(prices.high[bar], target)
    moved = _trailing_level(symbol, top)
    is_moved = moved is not None and (stop is None or moved > stop)
    if stop is not None and prices.low[bar] <= stop:
        symbol.ambiguous += reached or is_moved
        _sell(account, symbol, bar, stop, kinds, is_inside=True)
    elif is_moved and moved is not None and prices.low[bar] <= moved:
        symbol.ambiguous += 1
        worst = _least_moved(symbol, prices.low[bar])
        _sell(account, symbol, bar, worst, ("trailing_stop",), is_inside=True)


def _leave_inside(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    if symbol.entry is None or symbol.gave_up:
        return
    if symbol.inside_entry == bar:
        _leave_after_limit(account, symbol, bar)
        return
    prices = symbol.prices
    if _is_sold_beyond_level(account, symbol, bar):
        # An entry may open beyond a level of the strategy.
        return
    symbol.highest = max(symbol.highest, prices.open[bar])
    stop, kinds, target = _levels(symbol, bar)
    reached = target is not None and prices.high[bar] >= target
    # Up to here the price may have been before it fell: no further than the target.
    top = prices.high[bar] if target is None else min(prices.high[bar], target)
    moved = _trailing_level(symbol, top)
    is_moved = moved is not None and (stop is None or moved > stop)
    if stop is not None and prices.low[bar] <= stop:
        symbol.ambiguous += reached or is_moved
        _sell(account, symbol, bar, stop, kinds, is_inside=True)
    elif is_moved and moved is not None and prices.low[bar] <= moved:
        symbol.ambiguous += 1
        worst = _least_moved(symbol, prices.low[bar])
        _sell(account, symbol, bar, worst, ("trailing_stop",), is_inside=True)
    elif reached:
        assert target is not None
        _sell(account, symbol, bar, target, ("target",), is_inside=True)


def _trailing_level(symbol: _ExactSymbol, highest: Decimal) -> Decimal | None:
    """Return the trailing stop after the price has been this high; None: there is none yet."""
    exits = symbol.rules.exits
    found: list[Decimal] = []
    begins = None if exits.trailing_offset is None else _net_price(symbol, exits.trailing_offset)
    if exits.trailing_stop is not None and (begins is None or highest > begins):
        found.append(highest * (1 - of(exits.trailing_stop)))
    if exits.break_even is not None and highest > _net_price(symbol, exits.break_even):
        found.append(_net_price(symbol, 0.0))
    if begins is not None and exits.trailing_stop_before_offset is not None:
        found.append(min(highest, begins) * (1 - of(exits.trailing_stop_before_offset)))
    return max(found, default=None)


def _least_moved(symbol: _ExactSymbol, low: Decimal) -> Decimal:
    """Return the lowest stop from a low on that rising prices can set; it jumps at the offsets."""
    exits = symbol.rules.exits
    offsets = [one for one in (exits.trailing_offset, exits.break_even) if one is not None]
    for jump in sorted(_net_price(symbol, offset) for offset in offsets):
        if low > (_trailing_level(symbol, jump) or ZERO):
            above = _trailing_level(symbol, jump * ABOVE)
            low = max(low, above or ZERO)
    return low


def _levels(
    symbol: _ExactSymbol, bar: int
) -> tuple[Decimal | None, tuple[str, ...], Decimal | None]:
    """Return stop, its kinds, and target of a bar."""
    assert symbol.entry is not None
    exits, entry = symbol.rules.exits, symbol.entry_price
    stops: list[tuple[Decimal, str]] = []
    if exits.stop_loss is not None:
        stops.append((entry * (1 - of(exits.stop_loss)), "stop_loss"))
    own_stop, own_target = symbol.own.held
    if own_stop is not None:
        stops.append((of(own_stop), "stop_loss"))
    trailing = _trailing_level(symbol, symbol.highest)
    if trailing is not None:
        stops.append((trailing, "trailing_stop"))
    stop = max((price for price, _ in stops), default=None)
    kinds = tuple(kind for price, kind in stops if price == stop)
    wins = [of(exits.take_profit)] if exits.take_profit is not None else []
    reached = [ratio for age, ratio in exits.target_rows if age <= bar - symbol.entry]
    wins += [of(ratio) for ratio in reached[-1:]]
    target = None
    if wins:
        least = min(wins)
        net = exits.net_targets
        target = _net_price(symbol, float(least), is_limit=True) if net else entry * (1 + least)
    if own_target is not None:
        target = of(own_target) if target is None else min(target, of(own_target))
    return stop, kinds, None if target is None else _to_step(target, symbol, bar, ROUND_CEILING)


def _to_step(price: Decimal, symbol: _ExactSymbol, bar: int, rounding: str) -> Decimal:
    step = _price_step(symbol, bar)
    return price if step is None else _count(EXACT.divide(price, step), rounding) * step


def _price_step(symbol: _ExactSymbol, bar: int) -> Decimal | None:
    """Return the stated step, or the last digit of the month's prices where they are finer."""
    if symbol.trading_rules.price_step is None:
        return None
    if not symbol.price_steps:
        prices = symbol.prices
        by_month: dict[tuple[int, int], list[Decimal]] = {}
        months = [_month(time) for time in prices.timestamp]
        columns = (prices.open, prices.high, prices.low, prices.close)
        for month, *row in zip(months, *columns, strict=True):
            by_month.setdefault(month, []).extend(row)
        for month, found in by_month.items():
            is_off = any(price % symbol.trading_rules.price_step for price in found)
            digits = min(int(price.normalize().as_tuple().exponent) for price in found)
            symbol.price_steps[month] = (
                ONE.scaleb(digits) if is_off else symbol.trading_rules.price_step
            )
    return symbol.price_steps[_month(symbol.prices.timestamp[bar])]


def _month(timestamp: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.year, moment.month


def _count(steps: Decimal, rounding: str) -> Decimal:
    """Return whole steps; a value that misses a step by a millionth counts as that step."""
    nearest = steps.to_integral_value()
    return nearest if abs(steps - nearest) <= TOLERANCE else steps.to_integral_value(rounding)


def _sold_at(price: Decimal, symbol: _ExactSymbol, bar: int) -> Decimal:
    """Return a sell's price of whole steps, one at least."""
    return _to_step(price, symbol, bar, ROUND_FLOOR) or _price_step(symbol, bar) or price


def _whole_steps(amount: Decimal, symbol: _ExactSymbol) -> Decimal:
    step = symbol.trading_rules.amount_step
    return amount if step is None else _count(EXACT.divide(amount, step), ROUND_FLOOR) * step


def _slip(rules: AccountConfig) -> Decimal:
    return of(rules.slippage_bps) / 10_000 + of(rules.spread_bps) / 20_000


def _share(amount: Decimal, volume: Decimal) -> Decimal:
    return min(ONE, EXACT.divide(amount, volume)) if volume else ONE


def _enter(account: ExactAccount, symbol: _ExactSymbol, bar: int, places: int, moment: int) -> None:
    if not symbol.buy_waits:
        return
    symbol.buy_waits = False
    if is_paused(symbol.rules, account.closed, symbol.name, moment):
        return
    price, last = symbol.own.limit(symbol.due), symbol.due + symbol.own.expiry - 1
    if price is not None and last < bar:
        # The limit order has expired while it waited for a trade.
        return
    held = [one for one in account.symbols if one.entry is not None]
    limits = [one.limit for one in account.symbols if one.limit is not None]
    if len(held) + len(limits) >= places:
        account.skipped += symbol.skipped_run != symbol.run
        symbol.skipped_run = symbol.run
        return
    equity = account.cash + sum(one.reserved for one in limits) + sum(_worth(held, moment))
    if price is not None:
        _send_limit(account, symbol, bar, of(price), equity)
        return
    fill = _bought(symbol, bar, account.cash, equity)
    if fill is None:
        symbol.refused.append(bar)
        return
    if symbol.skipped_run == symbol.run:
        account.skipped -= 1
        symbol.skipped_run = 0
    symbol.is_used = _order(symbol, bar) == 1
    noise = ZERO if symbol.trading_rules.amount_step else account.cash * CASH_NOISE
    account.cash += fill.cash_change
    symbol.paid = -fill.cash_change
    if account.cash <= noise:
        account.cash = ZERO
    symbol.base += fill.base_change
    symbol.fills.append(fill)
    symbol.entry, symbol.gave_up, symbol.inside_entry = bar, False, None
    symbol.own.enter()
    symbol.entry_price = symbol.highest = symbol.prices.open[bar]


def _send_limit(
    account: ExactAccount, symbol: _ExactSymbol, bar: int, price: Decimal, equity: Decimal
) -> None:
    rules, cash, step = symbol.rules, account.cash, _price_step(symbol, bar)
    price = _sold_at(price, symbol, bar) if step is not None else price
    maker = of(rules.fee_rate if rules.maker_fee_rate is None else rules.maker_fee_rate)
    fee, in_coin = max(of(rules.fee_rate), maker), rules.fee_currency == "base"
    unit = price if in_coin else price * (1 + fee)
    wanted = _wanted(symbol, bar, cash, equity, unit, price)
    if wanted is None:
        symbol.refused.append(bar)
        return
    budget, amount = wanted
    if rules.max_volume_share is not None:
        amount = min(amount, of(rules.max_volume_share) * symbol.prices.volume[bar - 1])
    amount, amount_step = _whole_steps(amount, symbol), symbol.trading_rules.amount_step
    if amount_step is not None and amount * unit > budget * (1 + CASH_NOISE):
        amount -= amount_step
    base = amount - amount * fee if in_coin else amount
    if not _is_taken(symbol, price, amount) or not _could_be_sold(symbol, bar, base, price):
        symbol.refused.append(bar)
        return
    if symbol.skipped_run == symbol.run:
        account.skipped -= 1
        symbol.skipped_run = 0
    _spend(account, symbol, min(amount * unit, cash))
    symbol.limit = _ExactLimit(
        price, symbol.due, symbol.due + symbol.own.expiry - 1, amount, cash - account.cash
    )
    symbol.own.send_limit()


def _spend(account: ExactAccount, symbol: _ExactSymbol, cost: Decimal) -> None:
    noise = ZERO if symbol.trading_rules.amount_step else account.cash * CASH_NOISE
    account.cash -= cost
    if account.cash <= noise:
        account.cash = ZERO


def _end_limit(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    assert symbol.limit is not None
    account.cash += symbol.limit.reserved
    symbol.unfilled.append((symbol.limit.due, bar))
    symbol.limit = None


def _follow_limit(account: ExactAccount, symbol: _ExactSymbol, bar: int, moment: int) -> None:
    """Fill or end the open limit order of a symbol in a bar."""
    limit, prices, rules = symbol.limit, symbol.prices, symbol.rules
    if limit is None:
        return
    is_stopped = is_paused(rules, account.closed, symbol.name, moment)
    if is_stopped or not is_within(rules, prices.timestamp[bar]):
        _end_limit(account, symbol, bar)
        return
    if _is_untraded(symbol, bar) or min(prices.open[bar], prices.low[bar]) >= limit.price:
        if bar >= limit.last:
            _end_limit(account, symbol, bar)
        return
    is_inside = prices.open[bar] >= limit.price
    price, at, fee = limit.price, limit.price, of(rules.fee_rate)
    if is_inside:
        fee = fee if rules.maker_fee_rate is None else of(rules.maker_fee_rate)
    else:
        at = prices.open[bar]
        moved = of(rules.volume_impact) * _share(limit.amount, prices.volume[bar - 1])
        slipped = _to_step(at * (1 + _slip(rules) + moved), symbol, bar, ROUND_CEILING)
        price = min(slipped, limit.price)
    in_coin, amount = rules.fee_currency == "base", limit.amount
    paid = amount * fee if in_coin else price * amount * fee
    cost = min(price * amount + (ZERO if in_coin else paid), limit.reserved)
    symbol.limit = None
    account.cash += limit.reserved
    _spend(account, symbol, cost)
    base = amount - paid if in_coin else amount
    symbol.fills.append(ExactFill(bar, "buy", price, amount, paid, -cost, base))
    symbol.paid, symbol.base = cost, symbol.base + base
    symbol.entry, symbol.gave_up = bar, False
    symbol.inside_entry = bar if is_inside else None
    symbol.own.fill_limit()
    symbol.entry_price = symbol.highest = at
    symbol.is_used = all(one == 1 for one in symbol.signal[limit.due - 1 : bar])


def _worth(held: list[_ExactSymbol], moment: int) -> Iterator[Decimal]:
    """Return the value of each position at the last close before a moment."""
    for one in held:
        last = min(moment // 3_600, len(one.prices.close)) - 1
        yield one.base * one.prices.close[last]


def _bought(symbol: _ExactSymbol, bar: int, cash: Decimal, equity: Decimal) -> ExactFill | None:
    rules, open_ = symbol.rules, symbol.prices.open[bar]
    fee, in_coin = of(rules.fee_rate), rules.fee_currency == "base"
    fee_factor = ONE if in_coin else 1 + fee
    price = _to_step(open_ * (1 + _slip(rules)), symbol, bar, ROUND_CEILING)
    wanted = _wanted(symbol, bar, cash, equity, price * fee_factor, open_)
    if wanted is None:
        return None
    budget, amount = wanted
    impact, volume = of(rules.volume_impact), symbol.prices.volume[bar - 1]
    if rules.max_volume_share is not None:
        amount = min(amount, of(rules.max_volume_share) * volume)
    if impact:
        amount = min(amount, _most_with_impact(rules, open_ * fee_factor, budget, volume))
        moved = open_ * (1 + _slip(rules) + impact * _share(amount, volume))
        price = _to_step(moved, symbol, bar, ROUND_CEILING)
        amount = min(amount, EXACT.divide(budget, price * fee_factor))
    amount = _whole_steps(amount, symbol)
    if symbol.trading_rules.amount_step is not None and amount * price * fee_factor > budget * (
        1 + CASH_NOISE
    ):
        amount -= symbol.trading_rules.amount_step
    if not _is_taken(symbol, price, amount):
        return None
    paid = amount * fee if in_coin else price * amount * fee
    base = amount - paid if in_coin else amount
    if not _could_be_sold(symbol, bar, base, open_):
        return None
    change = -price * amount - (ZERO if in_coin else paid)
    return ExactFill(bar, "buy", price, amount, paid, max(change, -cash), base)


def _is_taken(symbol: _ExactSymbol, price: Decimal, amount: Decimal) -> bool:
    trading_rules = symbol.trading_rules
    return (
        amount > 0
        and amount >= trading_rules.min_amount
        and price * amount >= trading_rules.min_notional
    )


def _could_be_sold(symbol: _ExactSymbol, bar: int, base: Decimal, entry: Decimal) -> bool:
    """Return whether the market would take the coins back at the first stop."""
    rules, loss = symbol.rules, symbol.rules.exits.first_stop
    amount = _whole_steps(base, symbol)
    if amount <= 0 or amount < symbol.trading_rules.min_amount:
        return False
    if loss is None:
        return True
    moved = of(rules.volume_impact) * _share(amount, symbol.prices.volume[bar - 1])
    stop = entry * (1 - of(loss)) * (1 - _slip(rules) - moved)
    return _is_taken(symbol, _sold_at(stop, symbol, bar), amount)


def _wanted(
    symbol: _ExactSymbol,
    bar: int,
    cash: Decimal,
    equity: Decimal,
    unit: Decimal,
    entry: Decimal,
) -> tuple[Decimal, Decimal] | None:
    """Return the money that may be spent, and the coins of the sizing."""
    rules, name = symbol.rules, symbol.rules.sizing
    if name == "all_in":
        return cash, EXACT.divide(cash, unit)
    size = of(getattr(rules, name))
    most = cash * (1 + CASH_NOISE)
    if name == "quote_amount":
        return (size, EXACT.divide(size, unit)) if size <= most else None
    if name == "base_amount":
        return (cash, size) if size * unit <= most else None
    if name == "risk_per_trade":
        loss, fee = rules.exits.first_stop, of(rules.fee_rate)
        assert loss is not None
        back = entry * (1 - of(loss)) * (1 - _slip(rules)) * (1 - fee)
        if rules.fee_currency == "base":
            back *= 1 - fee
        return cash, min(EXACT.divide(size * equity, unit - back), EXACT.divide(cash, unit))
    if name == "volatility_target":
        found = _volatility(symbol, bar)
        if found is None:
            return None
        size = EXACT.divide(size, found) if found else ONE
    budget = min(min(size, ONE) * equity, cash)
    return budget, EXACT.divide(budget, unit)


def _volatility(symbol: _ExactSymbol, bar: int) -> Decimal | None:
    bars = symbol.rules.volatility_bars
    if bar < bars + 1:
        return None
    closes = symbol.prices.close[bar - bars - 1 : bar]
    changes = [EXACT.ln(EXACT.divide(new, old)) for old, new in pairwise(closes)]
    mean = EXACT.divide(sum(changes, ZERO), Decimal(bars))
    spread = sum(((change - mean) ** 2 for change in changes), ZERO)
    return EXACT.sqrt(EXACT.divide(spread, Decimal(bars - 1)) * 365 * 24)


def _most_with_impact(
    rules: AccountConfig, unit: Decimal, budget: Decimal, volume: Decimal
) -> Decimal:
    """Return the coins of a budget where a coin costs unit (fixed + impact amount / volume)."""
    fixed, impact = 1 + _slip(rules), of(rules.volume_impact)
    most = EXACT.divide(budget, unit * (fixed + impact))
    if most >= volume:
        return most
    # impact / volume a^2 + fixed a - budget / unit = 0
    root = EXACT.sqrt(fixed**2 + EXACT.divide(4 * impact * budget, volume * unit))
    return EXACT.divide((root - fixed) * volume, 2 * impact)


def _sell(
    account: ExactAccount,
    symbol: _ExactSymbol,
    bar: int,
    at: Decimal,
    kinds: tuple[str, ...],
    *,
    is_inside: bool = False,
) -> None:
    rules, amount = symbol.rules, _whole_steps(symbol.base, symbol)
    price, rate = at, of(rules.fee_rate)
    if kinds == ("target",):
        rate = rate if rules.maker_fee_rate is None else of(rules.maker_fee_rate)
    else:
        moved = of(rules.volume_impact) * _share(amount, symbol.prices.volume[bar - 1])
        price = at * (1 - _slip(rules) - moved)
    price = _sold_at(price, symbol, bar)
    if not _is_taken(symbol, price, amount):
        symbol.refused.append(bar)
        symbol.gave_up = True
        return
    fee = price * amount * rate
    ratio = EXACT.divide(price * amount - fee, symbol.paid) - 1
    account.closed.append(
        PlainTrade(symbol.name, symbol.prices.timestamp[bar], kinds, ratio, is_inside)
    )
    account.cash += price * amount - fee
    symbol.base -= amount
    symbol.fills.append(
        ExactFill(bar, "sell", price, amount, fee, price * amount - fee, -amount, kinds)
    )
    symbol.entry, symbol.sell_waits = None, False
    symbol.free_from = bar + 1 + rules.cooldown_bars
