"""The rules of the engine once more, in Decimals, bar by bar, and with none of its code.

Written from docs and docstrings: prices in whole hundredths go in as integers, and every fill comes
out as it is booked. Several symbols share one purse. Slow, and easy to check by hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise

from cent_walk import Prices, of
from onetape.core.steps import MarketSteps
from onetape.engine import AccountConfig

EXACT = Context(prec=45)
ZERO, ONE = Decimal(0), Decimal(1)
#: Part of a step that is none (onetape.core.steps).
TOLERANCE = Decimal("1e-6")
#: Part of the cash by which an order may cost more than there is, and which an order without an
#: amount step may leave of it: then the order spends all of the cash.
CASH_NOISE = Decimal("1e-12")


@dataclass(frozen=True)
class ExactFill:
    """A fill, exact."""

    bar: int
    side: str
    price: Decimal
    amount: Decimal
    fee: Decimal
    """In the coin bought where the rules say so."""
    cash_change: Decimal
    base_change: Decimal
    kinds: tuple[str, ...] = ()
    """How a sell came about; two where both stops lie at one price."""


@dataclass
class _Lane:
    """One symbol while it is traded."""

    prices: Prices
    signal: list[int]
    rules: AccountConfig
    steps: MarketSteps
    base: Decimal = ZERO
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
    price_steps: dict[tuple[int, int], Decimal] = field(
        default_factory=dict[tuple[int, int], Decimal]
    )
    """Of each month, by year and month."""


@dataclass
class ExactAccount:
    """What came out."""

    lanes: list[_Lane]
    cash: Decimal
    skipped: int = 0


def exact_run(
    markets: Sequence[tuple[Prices, Sequence[int], MarketSteps]],
    rules: AccountConfig,
    places: int | None = None,
) -> ExactAccount:
    """Trade all markets on one account, each with steps of its own."""
    lanes = [_Lane(prices, list(signal), rules, steps) for prices, signal, steps in markets]
    account = ExactAccount(lanes, of(rules.cash))
    moments = sorted({time for lane in lanes for time in lane.prices.timestamp})
    for moment in moments:
        now = [(lane, moment // 3_600) for lane in lanes if moment // 3_600 < len(lane.prices.open)]
        entered = [lane for lane, _ in now if lane.entry is not None]
        for lane, bar in now:
            _take(lane, bar)
        traded = [(lane, bar) for lane, bar in now if not _is_untraded(lane, bar)]
        for lane, bar in traded:
            if lane in entered:
                _leave_at_open(account, lane, bar)
        for lane, bar in traded:
            if lane not in entered:
                _enter(account, lane, bar, places or len(lanes), moment)
        for lane, bar in traded:
            _leave_inside(account, lane, bar)
            lane.highest = max(lane.highest, lane.prices.high[bar])
    return account


def _order(lane: _Lane, bar: int) -> int:
    return lane.signal[bar - 1] if bar else 0


def _is_untraded(lane: _Lane, bar: int) -> bool:
    prices = lane.prices
    return any(prices.volume) and not prices.volume[bar] and prices.high[bar] == prices.low[bar]


def _take(lane: _Lane, bar: int) -> None:
    """Note what is due from the open of a bar on, until something is traded."""
    order, before = _order(lane, bar), lane.signal[bar - 2] if bar > 1 else 0
    if order == 1 and before != 1:
        lane.run += 1
        lane.is_used = False
    if lane.entry is not None:
        lane.sell_waits |= order == -1
        return
    if order == -1:
        lane.buy_waits = False
    elif order == 1 and bar >= lane.free_from:
        lane.buy_waits |= not lane.is_used or lane.rules.reentry == "while_signal"


def _leave_at_open(account: ExactAccount, lane: _Lane, bar: int) -> None:
    assert lane.entry is not None
    open_, bars = lane.prices.open[bar], lane.rules.exits.time_stop_bars
    if lane.sell_waits:
        lane.sell_waits = False
        _sell(account, lane, bar, open_, ("signal",))
    elif lane.gave_up:
        return
    elif bars is not None and bar - lane.entry >= bars:
        _sell(account, lane, bar, open_, ("time_stop",))
    else:
        stop, kinds, target = _levels(lane, bar)
        if stop is not None and open_ <= stop:
            _sell(account, lane, bar, open_, kinds)
        elif target is not None and open_ >= target:
            _sell(account, lane, bar, open_, ("target",))


def _leave_inside(account: ExactAccount, lane: _Lane, bar: int) -> None:
    if lane.entry is None or lane.gave_up:
        return
    prices = lane.prices
    lane.highest = max(lane.highest, prices.open[bar])
    stop, kinds, target = _levels(lane, bar)
    reached = target is not None and prices.high[bar] >= target
    # Up to here the price may have been before it fell: no further than the target.
    top = prices.high[bar] if target is None else min(prices.high[bar], target)
    trailing = lane.rules.exits.trailing_stop
    is_moved = trailing is not None and stop is not None and top * (1 - of(trailing)) > stop
    if stop is not None and prices.low[bar] <= stop:
        lane.ambiguous += reached or is_moved
        _sell(account, lane, bar, stop, kinds)
    elif is_moved and trailing is not None and prices.low[bar] <= top * (1 - of(trailing)):
        lane.ambiguous += 1
        _sell(account, lane, bar, prices.low[bar], ("trailing_stop",))
    elif reached:
        assert target is not None
        _sell(account, lane, bar, target, ("target",))


def _levels(lane: _Lane, bar: int) -> tuple[Decimal | None, tuple[str, ...], Decimal | None]:
    """Return stop, its kinds, and target of a bar."""
    assert lane.entry is not None
    exits, entry = lane.rules.exits, lane.entry_price
    stops: list[tuple[Decimal, str]] = []
    if exits.stop_loss is not None:
        stops.append((entry * (1 - of(exits.stop_loss)), "stop_loss"))
    if exits.trailing_stop is not None:
        stops.append((lane.highest * (1 - of(exits.trailing_stop)), "trailing_stop"))
    stop = max((price for price, _ in stops), default=None)
    kinds = tuple(kind for price, kind in stops if price == stop)
    wins = [of(exits.take_profit)] if exits.take_profit is not None else []
    reached = [ratio for age, ratio in exits.target_rows if age <= bar - lane.entry]
    wins += [of(ratio) for ratio in reached[-1:]]
    target = entry * (1 + min(wins)) if wins else None
    return stop, kinds, None if target is None else _to_step(target, lane, bar, ROUND_CEILING)


def _to_step(price: Decimal, lane: _Lane, bar: int, rounding: str) -> Decimal:
    step = _price_step(lane, bar)
    return price if step is None else _count(EXACT.divide(price, step), rounding) * step


def _price_step(lane: _Lane, bar: int) -> Decimal | None:
    """Return the stated step, or the last digit of the month's prices where they are finer."""
    if lane.steps.price_step is None:
        return None
    if not lane.price_steps:
        prices = lane.prices
        by_month: dict[tuple[int, int], list[Decimal]] = {}
        months = [_month(time) for time in prices.timestamp]
        columns = (prices.open, prices.high, prices.low, prices.close)
        for month, *row in zip(months, *columns, strict=True):
            by_month.setdefault(month, []).extend(row)
        for month, found in by_month.items():
            is_off = any(price % lane.steps.price_step for price in found)
            digits = min(int(price.normalize().as_tuple().exponent) for price in found)
            lane.price_steps[month] = ONE.scaleb(digits) if is_off else lane.steps.price_step
    return lane.price_steps[_month(lane.prices.timestamp[bar])]


def _month(timestamp: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.year, moment.month


def _count(steps: Decimal, rounding: str) -> Decimal:
    """Return whole steps; what misses one by a millionth of a step counts as it, as documented."""
    nearest = steps.to_integral_value()
    return nearest if abs(steps - nearest) <= TOLERANCE else steps.to_integral_value(rounding)


def _sold_at(price: Decimal, lane: _Lane, bar: int) -> Decimal:
    """Return a sell's price of whole steps, one at least."""
    return _to_step(price, lane, bar, ROUND_FLOOR) or _price_step(lane, bar) or price


def _whole_steps(amount: Decimal, lane: _Lane) -> Decimal:
    step = lane.steps.amount_step
    return amount if step is None else _count(EXACT.divide(amount, step), ROUND_FLOOR) * step


def _slip(rules: AccountConfig) -> Decimal:
    return of(rules.slippage_bps) / 10_000 + of(rules.spread_bps) / 20_000


def _share(amount: Decimal, volume: Decimal) -> Decimal:
    return min(ONE, EXACT.divide(amount, volume)) if volume else ONE


def _enter(account: ExactAccount, lane: _Lane, bar: int, places: int, moment: int) -> None:
    if not lane.buy_waits:
        return
    lane.buy_waits = False
    held = [one for one in account.lanes if one.entry is not None]
    if len(held) >= places:
        account.skipped += lane.skipped_run != lane.run
        lane.skipped_run = lane.run
        return
    fill = _bought(lane, bar, account.cash, account.cash + sum(_worth(held, moment)))
    if fill is None:
        lane.refused.append(bar)
        return
    if lane.skipped_run == lane.run:
        account.skipped -= 1
        lane.skipped_run = 0
    lane.is_used = _order(lane, bar) == 1
    noise = ZERO if lane.steps.amount_step else account.cash * CASH_NOISE
    account.cash += fill.cash_change
    if account.cash <= noise:
        account.cash = ZERO
    lane.base += fill.base_change
    lane.fills.append(fill)
    lane.entry, lane.gave_up = bar, False
    lane.entry_price = lane.highest = lane.prices.open[bar]


def _worth(held: list[_Lane], moment: int) -> Iterator[Decimal]:
    """Give what each position is worth at the last close before a moment."""
    for one in held:
        last = min(moment // 3_600, len(one.prices.close)) - 1
        yield one.base * one.prices.close[last]


def _bought(lane: _Lane, bar: int, cash: Decimal, equity: Decimal) -> ExactFill | None:
    rules, open_ = lane.rules, lane.prices.open[bar]
    fee, in_coin = of(rules.fee_rate), rules.fee_coin == "received"
    kept = ONE if in_coin else 1 + fee
    price = _to_step(open_ * (1 + _slip(rules)), lane, bar, ROUND_CEILING)
    wanted = _wanted(lane, bar, cash, equity, price * kept)
    if wanted is None:
        return None
    budget, amount = wanted
    impact, volume = of(rules.volume_impact), lane.prices.volume[bar - 1]
    if impact:
        amount = min(amount, _most_with_impact(rules, open_ * kept, budget, volume))
        moved = open_ * (1 + _slip(rules) + impact * _share(amount, volume))
        price = _to_step(moved, lane, bar, ROUND_CEILING)
        amount = min(amount, EXACT.divide(budget, price * kept))
    amount = _whole_steps(amount, lane)
    if lane.steps.amount_step is not None and amount * price * kept > budget * (1 + CASH_NOISE):
        amount -= lane.steps.amount_step
    if not _is_taken(lane, price, amount):
        return None
    paid = amount * fee if in_coin else price * amount * fee
    base = amount - paid if in_coin else amount
    if not _could_be_sold(lane, bar, base):
        return None
    change = -price * amount - (ZERO if in_coin else paid)
    return ExactFill(bar, "buy", price, amount, paid, max(change, -cash), base)


def _is_taken(lane: _Lane, price: Decimal, amount: Decimal) -> bool:
    steps = lane.steps
    return amount > 0 and amount >= steps.min_amount and price * amount >= steps.min_notional


def _could_be_sold(lane: _Lane, bar: int, base: Decimal) -> bool:
    """Return whether the market would take the coins back at the first stop."""
    rules, loss = lane.rules, lane.rules.exits.first_stop
    amount = _whole_steps(base, lane)
    if amount <= 0 or amount < lane.steps.min_amount:
        return False
    if loss is None:
        return True
    moved = of(rules.volume_impact) * _share(amount, lane.prices.volume[bar - 1])
    stop = lane.prices.open[bar] * (1 - of(loss)) * (1 - _slip(rules) - moved)
    return _is_taken(lane, _sold_at(stop, lane, bar), amount)


def _wanted(
    lane: _Lane, bar: int, cash: Decimal, equity: Decimal, unit: Decimal
) -> tuple[Decimal, Decimal] | None:
    """Return what may be spent, and the coins that the sizing wants for it."""
    rules, name = lane.rules, lane.rules.sizing
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
        back = lane.prices.open[bar] * (1 - of(loss)) * (1 - _slip(rules)) * (1 - fee)
        if rules.fee_coin == "received":
            back *= 1 - fee
        return cash, min(EXACT.divide(size * equity, unit - back), EXACT.divide(cash, unit))
    if name == "volatility_target":
        found = _volatility(lane, bar)
        if found is None:
            return None
        size = EXACT.divide(size, found) if found else ONE
    budget = min(min(size, ONE) * equity, cash)
    return budget, EXACT.divide(budget, unit)


def _volatility(lane: _Lane, bar: int) -> Decimal | None:
    bars = lane.rules.volatility_bars
    if bar < bars + 1:
        return None
    closes = lane.prices.close[bar - bars - 1 : bar]
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
    account: ExactAccount, lane: _Lane, bar: int, at: Decimal, kinds: tuple[str, ...]
) -> None:
    rules, amount = lane.rules, _whole_steps(lane.base, lane)
    price, rate = at, of(rules.fee_rate)
    if kinds == ("target",):
        rate = rate if rules.maker_fee_rate is None else of(rules.maker_fee_rate)
    else:
        moved = of(rules.volume_impact) * _share(amount, lane.prices.volume[bar - 1])
        price = at * (1 - _slip(rules) - moved)
    price = _sold_at(price, lane, bar)
    if not _is_taken(lane, price, amount):
        lane.refused.append(bar)
        lane.gave_up = True
        return
    fee = price * amount * rate
    account.cash += price * amount - fee
    lane.base -= amount
    lane.fills.append(
        ExactFill(bar, "sell", price, amount, fee, price * amount - fee, -amount, kinds)
    )
    lane.entry, lane.sell_waits = None, False
    lane.free_from = bar + 1 + rules.cool_down_bars
