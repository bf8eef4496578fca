"""The account of the plainest rules, in columns: no steps, no minimums, no impact, fee in quote.

It makes the very numbers of `FillModel`, operation by operation; where an order would be refused it
gives up, and `account.trade_alone` goes through the trades one by one.
"""

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.account import Lane
from onetape.engine.exits import TARGET
from onetape.engine.plan import NONE

_SIZINGS = ("all_in", "quote_amount", "base_amount")


def trade_plainly(lane: Lane, cash: float, row: int) -> tuple[float, int] | None:
    """Carry out one symbol's plan; as `trade_alone`, without a position that is held.

    Args:
        lane: The symbol; its book is empty.
        cash: Quote currency at the start.
        row: First entry, or NONE.

    Returns:
        As `trade_alone`; None where the rules are not plain, or an order would be refused.
    """
    plan, model, book = lane.plan, lane.model, lane.book
    plain = model.is_plain and model.sizing in _SIZINGS and not book.base
    route = plan.route(row) if plain and row != NONE and lane.detail is None else None
    if route is None:
        return None
    exits = plan.found.taken(route)
    is_target = exits.kind == TARGET
    price = lane.candles.open[plan.entries[route]] * (1 + model.slippage)
    out = np.where(is_target, exits.price, exits.price * (1 - model.slippage))
    rate = np.where(is_target, model.maker_fee_rate, model.fee_rate)
    if model.sizing == "all_in":
        amount, cost = _all_in(cash, model.fee_rate, price, out, rate)
    else:
        amount = np.full(len(route), model.size, dtype=np.float64)
        if model.sizing == "quote_amount":
            amount /= price * (1 + model.fee_rate)
        notional = price * amount
        cost = notional + notional * model.fee_rate
    # Buy and sell in turn.
    fills = np.empty((2 * len(route), 6))
    _put(fills[0::2], price, amount, model.fee_rate, is_buy=True)
    fills[0::2, 4] = -cost
    _put(fills[1::2], out, amount, rate, is_buy=False)
    is_open = bool(exits.bar[-1] == len(lane.candles))
    fills = fills[:-1] if is_open else fills
    money = np.cumsum(np.concatenate(([cash], fills[:, 4])))
    if (money < 0).any() or not (amount > 0).all():
        return None
    _keep(lane, route, fills, is_open=is_open)
    return float(money[-1]), int(route[-1]) if is_open else NONE


def _all_in(
    cash: float, buy_rate: float, price: FloatArray, out: FloatArray, rate: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return amount and cost of each buy, every one paid by what the sell before brought in."""
    unit = price * (1 + buy_rate)
    before: list[float] = []
    columns = (unit, price, out, rate)
    for each, paid, got, sell_rate in zip(*(column.tolist() for column in columns), strict=True):
        before.append(cash)
        amount = cash / each
        notional = paid * amount
        cost = notional + notional * buy_rate
        back = got * amount
        # In the order in which the account is booked, for the last bit's sake.
        cash = (cash - cost if cost < cash else 0.0) + (back - back * sell_rate)
    held = np.array(before)
    amounts = held / unit
    notionals = price * amounts
    return amounts, np.minimum(notionals + notionals * buy_rate, held)


def _put(
    rows: FloatArray,
    price: FloatArray,
    amount: FloatArray,
    rate: FloatArray | float,
    *,
    is_buy: bool,
) -> None:
    """Fill the columns of `fills.Numbers`; a buy's change of cash is left to the caller."""
    notional = price * amount
    fee = notional * rate
    columns = (price, amount, notional, fee, notional - fee, amount if is_buy else -amount)
    for number, column in enumerate(columns):
        rows[:, number] = column


def _keep(lane: Lane, route: IntArray, fills: FloatArray, *, is_open: bool) -> None:
    """Write the book."""
    exits = lane.plan.found.taken(route)
    indices = np.empty(2 * len(route), dtype=np.int64)
    indices[0::2], indices[1::2] = lane.plan.entries[route], exits.bar
    prices = np.empty(2 * len(route))
    prices[0::2], prices[1::2] = lane.candles.open[indices[0::2]], exits.price
    count = len(fills)
    lane.book.keep(indices[:count], fills, prices[:count], exits.kind[: count // 2])
    lane.book.ambiguous = int(exits.is_ambiguous.sum())
    lane.book.base = float(fills[-1, 1]) if is_open else 0.0
