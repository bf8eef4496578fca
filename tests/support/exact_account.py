"""A second implementation of the engine's rules in Decimals, bar by bar, sharing no code.

Written from docs and docstrings: prices in whole hundredths go in as integers, and every fill comes
out as it is booked. Several symbols share one account. Slow, and easy to check by hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise

from cent_walk import CentCandles, make_exact
from onetape.core.strategy_levels import LevelColumns
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig
from plain_guards import PlainTrade, is_paused
from plain_hours import is_within
from plain_levels import CurrentLevels

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

    prices: CentCandles
    signal: list[int]
    rules: AccountConfig
    trading_rules: TradingRules
    name: str
    own: CurrentLevels
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


def run_exact(
    markets: Sequence[tuple[CentCandles, Sequence[int], TradingRules]],
    rules: AccountConfig,
    slots: int | None = None,
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
            CurrentLevels(None if levels is None else levels[number], list(signal)),
        )
        for number, (prices, signal, steps) in enumerate(markets)
    ]
    account = ExactAccount(symbols, make_exact(rules.cash))
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
                _enter(account, symbol, bar, slots or len(symbols), moment)
        for symbol, _ in now:
            if symbol.buy_waits and is_paused(rules, account.closed, symbol.name, moment):
                symbol.buy_waits = False
        for symbol, bar in now:
            _trade_inside(account, symbol, bar, moment)
    return account


def _trade_inside(account: ExactAccount, symbol: _ExactSymbol, bar: int, moment: int) -> None:
    """Trade what the prices of a candle after its open lead to."""
    _follow_limit(account, symbol, bar, moment)
    if _is_untraded(symbol, bar):
        return
    _leave_inside(account, symbol, bar)
    is_inside = symbol.inside_entry == bar
    top = symbol.prices.close[bar] if is_inside else symbol.prices.high[bar]
    symbol.highest = max(symbol.highest, top)


def _get_order(symbol: _ExactSymbol, bar: int) -> int:
    return symbol.signal[bar - 1] if bar else 0


def _is_untraded(symbol: _ExactSymbol, bar: int) -> bool:
    prices = symbol.prices
    return any(prices.volume) and not prices.volume[bar] and prices.high[bar] == prices.low[bar]


def _take(account: ExactAccount, symbol: _ExactSymbol, bar: int) -> None:
    """Set the order that is due from the open of a bar on, until something is traded."""
    symbol.own.take(bar)
    order, before = _get_order(symbol, bar), symbol.signal[bar - 2] if bar > 1 else 0
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
    elif order == 1 and bar >= symbol.free_from and _may_use_run(symbol):
        symbol.buy_waits, symbol.due = True, bar
    symbol.buy_waits &= is_within(symbol.rules, symbol.prices.timestamp[bar])


def _may_use_run(symbol: _ExactSymbol) -> bool:
    """Return whether the present run of BUYs may lead to an entry."""
    return not symbol.is_used or symbol.rules.reentry == "while_signal"


def _sell_counts(symbol: _ExactSymbol, bar: int) -> bool:
    """Return whether the SELL of the bar before has a profit above the offset."""
    offset = symbol.rules.exits.exit_profit_offset
    return offset is None or symbol.prices.close[bar - 1] > _compute_net_price(symbol, offset)


def _compute_net_price(symbol: _ExactSymbol, profit: float, *, is_limit: bool = False) -> Decimal:
    """Return the price of a sell with a profit of this part of the entry's cost, fees included."""
    rules, fee = symbol.rules, make_exact(symbol.rules.fee_rate)
    has_maker_fee = is_limit and rules.maker_fee_rate is not None
    sold = 1 - (make_exact(rules.maker_fee_rate or 0.0) if has_maker_fee else fee)
    cost = EXACT.divide(ONE, 1 - fee) if rules.fee_currency == "base" else 1 + fee
    return symbol.entry_price * (1 + make_exact(profit)) * EXACT.divide(cost, sold)


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
    stop, kinds, target = _compute_levels(symbol, bar)
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
    stop, kinds, target = _compute_levels(symbol, bar)
    if stop is not None and price <= stop:
        _sell(account, symbol, bar, price, kinds, is_inside=True)
        return
    if target is not None and target <= price:
        target = None
    reached = target is not None and prices.high[bar] >= target
    top = prices.high[bar] if target is None else min(prices.high[bar], target)
    moved = _compute_trailing_level(symbol, top)
    is_moved = moved is not None and (stop is None or moved > stop)
    if stop is not None and prices.low[bar] <= stop:
        symbol.ambiguous += reached or is_moved
        _sell(account, symbol, bar, stop, kinds, is_inside=True)
    elif is_moved and moved is not None and prices.low[bar] <= moved:
        symbol.ambiguous += 1
        worst = _find_least_moved(symbol, prices.low[bar])
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
    stop, kinds, target = _compute_levels(symbol, bar)
    reached = target is not None and prices.high[bar] >= target
    # Up to here the price may have been before it fell: no further than the target.
    top = prices.high[bar] if target is None else min(prices.high[bar], target)
    moved = _compute_trailing_level(symbol, top)
    is_moved = moved is not None and (stop is None or moved > stop)
    if stop is not None and prices.low[bar] <= stop:
        symbol.ambiguous += reached or is_moved
        _sell(account, symbol, bar, stop, kinds, is_inside=True)
    elif is_moved and moved is not None and prices.low[bar] <= moved:
        symbol.ambiguous += 1
        worst = _find_least_moved(symbol, prices.low[bar])
        _sell(account, symbol, bar, worst, ("trailing_stop",), is_inside=True)
    elif reached:
        assert target is not None
        _sell(account, symbol, bar, target, ("target",), is_inside=True)


def _compute_trailing_level(symbol: _ExactSymbol, highest: Decimal) -> Decimal | None:
    """Return the trailing stop after the price has been this high; None: there is none yet."""
    exits = symbol.rules.exits
    found: list[Decimal] = []
    begins = (
        None if exits.trailing_offset is None else _compute_net_price(symbol, exits.trailing_offset)
    )
    if exits.trailing_stop is not None and (begins is None or highest > begins):
        found.append(highest * (1 - make_exact(exits.trailing_stop)))
    if exits.break_even is not None and highest > _compute_net_price(symbol, exits.break_even):
        found.append(_compute_net_price(symbol, 0.0))
    if begins is not None and exits.trailing_stop_before_offset is not None:
        found.append(min(highest, begins) * (1 - make_exact(exits.trailing_stop_before_offset)))
    return max(found, default=None)


def _find_least_moved(symbol: _ExactSymbol, low: Decimal) -> Decimal:
    """Return the lowest stop from a low on that rising prices can set; it jumps at the offsets."""
    exits = symbol.rules.exits
    offsets = [one for one in (exits.trailing_offset, exits.break_even) if one is not None]
    for jump in sorted(_compute_net_price(symbol, offset) for offset in offsets):
        if low > (_compute_trailing_level(symbol, jump) or ZERO):
            above = _compute_trailing_level(symbol, jump * ABOVE)
            low = max(low, above or ZERO)
    return low


def _compute_levels(
    symbol: _ExactSymbol, bar: int
) -> tuple[Decimal | None, tuple[str, ...], Decimal | None]:
    """Return stop, its kinds, and target of a bar."""
    assert symbol.entry is not None
    exits, entry = symbol.rules.exits, symbol.entry_price
    stops: list[tuple[Decimal, str]] = []
    if exits.stop_loss is not None:
        stops.append((entry * (1 - make_exact(exits.stop_loss)), "stop_loss"))
    own_stop, own_target = symbol.own.held
    if own_stop is not None:
        stops.append((make_exact(own_stop), "stop_loss"))
    trailing = _compute_trailing_level(symbol, symbol.highest)
    if trailing is not None:
        stops.append((trailing, "trailing_stop"))
    stop = max((price for price, _ in stops), default=None)
    kinds = tuple(kind for price, kind in stops if price == stop)
    wins = [make_exact(exits.take_profit)] if exits.take_profit is not None else []
    reached = [ratio for age, ratio in exits.target_rows if age <= bar - symbol.entry]
    wins += [make_exact(ratio) for ratio in reached[-1:]]
    target = None
    if wins:
        least = min(wins)
        net = exits.net_targets
        target = (
            _compute_net_price(symbol, float(least), is_limit=True) if net else entry * (1 + least)
        )
    if own_target is not None:
        target = make_exact(own_target) if target is None else min(target, make_exact(own_target))
    return (
        stop,
        kinds,
        None if target is None else _round_to_step(target, symbol, bar, ROUND_CEILING),
    )


def _round_to_step(price: Decimal, symbol: _ExactSymbol, bar: int, rounding: str) -> Decimal:
    step = _get_price_step(symbol, bar)
    return price if step is None else _count(EXACT.divide(price, step), rounding) * step


def _get_price_step(symbol: _ExactSymbol, bar: int) -> Decimal | None:
    """Return the stated step, or the last digit of the month's prices where they are finer."""
    if symbol.trading_rules.price_step is None:
        return None
    if not symbol.price_steps:
        prices = symbol.prices
        by_month: dict[tuple[int, int], list[Decimal]] = {}
        months = [_get_month(time) for time in prices.timestamp]
        columns = (prices.open, prices.high, prices.low, prices.close)
        for month, *row in zip(months, *columns, strict=True):
            by_month.setdefault(month, []).extend(row)
        for month, found in by_month.items():
            is_off = any(price % symbol.trading_rules.price_step for price in found)
            digits = min(int(price.normalize().as_tuple().exponent) for price in found)
            symbol.price_steps[month] = (
                ONE.scaleb(digits) if is_off else symbol.trading_rules.price_step
            )
    return symbol.price_steps[_get_month(symbol.prices.timestamp[bar])]


def _get_month(timestamp: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.year, moment.month


def _count(steps: Decimal, rounding: str) -> Decimal:
    """Return whole steps; a value that misses a step by a millionth counts as that step."""
    nearest = steps.to_integral_value()
    return nearest if abs(steps - nearest) <= TOLERANCE else steps.to_integral_value(rounding)


def _compute_sold_price(price: Decimal, symbol: _ExactSymbol, bar: int) -> Decimal:
    """Return a sell's price of whole steps, one at least."""
    return _round_to_step(price, symbol, bar, ROUND_FLOOR) or _get_price_step(symbol, bar) or price


def _round_to_steps(amount: Decimal, symbol: _ExactSymbol) -> Decimal:
    step = symbol.trading_rules.amount_step
    return amount if step is None else _count(EXACT.divide(amount, step), ROUND_FLOOR) * step


def _compute_slippage(rules: AccountConfig) -> Decimal:
    return make_exact(rules.slippage_bps) / 10_000 + make_exact(rules.spread_bps) / 20_000


def _compute_volume_fraction(amount: Decimal, volume: Decimal) -> Decimal:
    return min(ONE, EXACT.divide(amount, volume)) if volume else ONE


def _enter(account: ExactAccount, symbol: _ExactSymbol, bar: int, slots: int, moment: int) -> None:
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
    if len(held) + len(limits) >= slots:
        account.skipped += symbol.skipped_run != symbol.run
        symbol.skipped_run = symbol.run
        return
    equity = (
        account.cash
        + sum(one.reserved for one in limits)
        + sum(_iterate_position_values(held, moment))
    )
    if price is not None:
        _send_limit(account, symbol, bar, make_exact(price), equity)
        return
    fill = _buy(symbol, bar, account.cash, equity)
    if fill is None:
        symbol.refused.append(bar)
        return
    if symbol.skipped_run == symbol.run:
        account.skipped -= 1
        symbol.skipped_run = 0
    symbol.is_used = _get_order(symbol, bar) == 1
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
    rules, cash, step = symbol.rules, account.cash, _get_price_step(symbol, bar)
    price = _compute_sold_price(price, symbol, bar) if step is not None else price
    maker = make_exact(rules.fee_rate if rules.maker_fee_rate is None else rules.maker_fee_rate)
    fee, in_coin = max(make_exact(rules.fee_rate), maker), rules.fee_currency == "base"
    unit = price if in_coin else price * (1 + fee)
    wanted = _compute_wanted(symbol, bar, cash, equity, unit, price)
    if wanted is None:
        symbol.refused.append(bar)
        return
    budget, amount = wanted
    if rules.max_volume_share is not None:
        amount = min(amount, make_exact(rules.max_volume_share) * symbol.prices.volume[bar - 1])
    amount, amount_step = _round_to_steps(amount, symbol), symbol.trading_rules.amount_step
    if amount_step is not None and amount * unit > budget * (1 + CASH_NOISE):
        amount -= amount_step
    base = amount - amount * fee if in_coin else amount
    if not _is_taken(symbol, price, amount) or not _is_sellable(symbol, bar, base, price):
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
    price, at, fee = limit.price, limit.price, make_exact(rules.fee_rate)
    if is_inside:
        fee = fee if rules.maker_fee_rate is None else make_exact(rules.maker_fee_rate)
    else:
        at = prices.open[bar]
        moved = make_exact(rules.volume_impact) * _compute_volume_fraction(
            limit.amount, prices.volume[bar - 1]
        )
        slipped = _round_to_step(
            at * (1 + _compute_slippage(rules) + moved), symbol, bar, ROUND_CEILING
        )
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


def _iterate_position_values(held: list[_ExactSymbol], moment: int) -> Iterator[Decimal]:
    """Return the value of each position at the last close before a moment."""
    for one in held:
        last = min(moment // 3_600, len(one.prices.close)) - 1
        yield one.base * one.prices.close[last]


def _buy(symbol: _ExactSymbol, bar: int, cash: Decimal, equity: Decimal) -> ExactFill | None:
    rules, open_ = symbol.rules, symbol.prices.open[bar]
    fee, in_coin = make_exact(rules.fee_rate), rules.fee_currency == "base"
    fee_factor = ONE if in_coin else 1 + fee
    price = _round_to_step(open_ * (1 + _compute_slippage(rules)), symbol, bar, ROUND_CEILING)
    wanted = _compute_wanted(symbol, bar, cash, equity, price * fee_factor, open_)
    if wanted is None:
        return None
    budget, amount = wanted
    impact, volume = make_exact(rules.volume_impact), symbol.prices.volume[bar - 1]
    if rules.max_volume_share is not None:
        amount = min(amount, make_exact(rules.max_volume_share) * volume)
    if impact:
        amount = min(amount, _find_most_with_impact(rules, open_ * fee_factor, budget, volume))
        moved = open_ * (
            1 + _compute_slippage(rules) + impact * _compute_volume_fraction(amount, volume)
        )
        price = _round_to_step(moved, symbol, bar, ROUND_CEILING)
        amount = min(amount, EXACT.divide(budget, price * fee_factor))
    amount = _round_to_steps(amount, symbol)
    if symbol.trading_rules.amount_step is not None and amount * price * fee_factor > budget * (
        1 + CASH_NOISE
    ):
        amount -= symbol.trading_rules.amount_step
    if not _is_taken(symbol, price, amount):
        return None
    paid = amount * fee if in_coin else price * amount * fee
    base = amount - paid if in_coin else amount
    if not _is_sellable(symbol, bar, base, open_):
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


def _is_sellable(symbol: _ExactSymbol, bar: int, base: Decimal, entry: Decimal) -> bool:
    """Return whether the market would take the coins back at the first stop."""
    rules, loss = symbol.rules, symbol.rules.exits.first_stop
    amount = _round_to_steps(base, symbol)
    if amount <= 0 or amount < symbol.trading_rules.min_amount:
        return False
    if loss is None:
        return True
    moved = make_exact(rules.volume_impact) * _compute_volume_fraction(
        amount, symbol.prices.volume[bar - 1]
    )
    stop = entry * (1 - make_exact(loss)) * (1 - _compute_slippage(rules) - moved)
    return _is_taken(symbol, _compute_sold_price(stop, symbol, bar), amount)


def _compute_wanted(
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
    size = make_exact(getattr(rules, name))
    most = cash * (1 + CASH_NOISE)
    if name == "quote_amount":
        return (size, EXACT.divide(size, unit)) if size <= most else None
    if name == "base_amount":
        return (cash, size) if size * unit <= most else None
    if name == "risk_per_trade":
        loss, fee = rules.exits.first_stop, make_exact(rules.fee_rate)
        assert loss is not None
        back = entry * (1 - make_exact(loss)) * (1 - _compute_slippage(rules)) * (1 - fee)
        if rules.fee_currency == "base":
            back *= 1 - fee
        return cash, min(EXACT.divide(size * equity, unit - back), EXACT.divide(cash, unit))
    if name == "volatility_target":
        found = _compute_volatility(symbol, bar)
        if found is None:
            return None
        size = EXACT.divide(size, found) if found else ONE
    budget = min(min(size, ONE) * equity, cash)
    return budget, EXACT.divide(budget, unit)


def _compute_volatility(symbol: _ExactSymbol, bar: int) -> Decimal | None:
    bars = symbol.rules.volatility_bars
    if bar < bars + 1:
        return None
    closes = symbol.prices.close[bar - bars - 1 : bar]
    changes = [EXACT.ln(EXACT.divide(new, old)) for old, new in pairwise(closes)]
    mean = EXACT.divide(sum(changes, ZERO), Decimal(bars))
    spread = sum(((change - mean) ** 2 for change in changes), ZERO)
    return EXACT.sqrt(EXACT.divide(spread, Decimal(bars - 1)) * 365 * 24)


def _find_most_with_impact(
    rules: AccountConfig, unit: Decimal, budget: Decimal, volume: Decimal
) -> Decimal:
    """Return the coins of a budget where a coin costs unit (fixed + impact amount / volume)."""
    fixed, impact = 1 + _compute_slippage(rules), make_exact(rules.volume_impact)
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
    rules, amount = symbol.rules, _round_to_steps(symbol.base, symbol)
    price, rate = at, make_exact(rules.fee_rate)
    if kinds == ("target",):
        rate = rate if rules.maker_fee_rate is None else make_exact(rules.maker_fee_rate)
    else:
        moved = make_exact(rules.volume_impact) * _compute_volume_fraction(
            amount, symbol.prices.volume[bar - 1]
        )
        price = at * (1 - _compute_slippage(rules) - moved)
    price = _compute_sold_price(price, symbol, bar)
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
