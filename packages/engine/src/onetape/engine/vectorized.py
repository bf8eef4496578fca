"""Fast computation of all fills at once, for plain rules (`FillModel.is_plain`).

Plain rules have no steps, minimums and volume impact, and fees in quote currency. The results equal
those of `FillModel` to the last bit, because the operations are the same. If an order would be
refused, the functions return None, and the caller computes the trades one by one.
"""

from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.exit_columns import ExitColumns
from onetape.engine.exits import TARGET
from onetape.engine.fill_log import FillColumns
from onetape.engine.symbol_state import SymbolState

#: Sizings whose amount does not depend on the account, as long as the cash is enough.
FIXED_SIZINGS = ("quote_amount", "base_amount")


class Route(NamedTuple):
    """Trades that follow each other if no order is refused; arrays have shape (m,)."""

    candidates: IntArray
    """Candidate of each trade in the symbol's `EntryPlan`."""
    exits: ExitColumns
    """Exit of each position."""
    entry_price: FloatArray
    """Price of each buy, slippage included, quote currency."""
    exit_price: FloatArray
    """Price of each sell, slippage included, quote currency."""
    exit_fee_rate: FloatArray
    """Fee rate of each sell."""


def find_plain_route(symbol: SymbolState, candidate: int) -> Route | None:
    """Return the trades from a candidate on, where the rules are plain and no order is refused.

    Args:
        symbol: The symbol; its fill log is empty.
        candidate: First entry, or NO_CANDIDATE.

    Returns:
        None where the rules are not plain, or an exit has not been searched.
    """
    plan, model = symbol.plan, symbol.model
    plain = model.is_plain and not symbol.fill_log.base and symbol.intrabar is None
    candidates = plan.find_route(candidate) if plain and candidate != NO_CANDIDATE else None
    if candidates is None:
        return None
    exits = plan.found.take_rows(candidates)
    is_target = exits.kind == TARGET
    return Route(
        candidates,
        exits,
        symbol.candles.open[plan.entries[candidates]] * (1 + model.slippage),
        np.where(is_target, exits.price, exits.price * (1 - model.slippage)),
        np.where(is_target, model.maker_fee_rate, model.fee_rate),
    )


def trade_vectorized(symbol: SymbolState, cash: float, candidate: int) -> tuple[float, int] | None:
    """Trade one symbol's plan as `trade_alone` does, from an account without a position.

    Args:
        symbol: The symbol; its fill log is empty.
        cash: Quote currency at the start.
        candidate: First entry, or NO_CANDIDATE.

    Returns:
        As `trade_alone`; None where the rules are not plain, or an order would be refused.
    """
    sizing = symbol.model.sizing
    route = find_plain_route(symbol, candidate) if sizing in ("all_in", *FIXED_SIZINGS) else None
    if route is None:
        return None
    if sizing == "all_in":
        amount, cost = _compute_all_in_amounts(symbol, route, cash)
    else:
        amount = compute_fixed_amounts(symbol, route)
        cost = compute_costs(symbol, route, amount)
    columns = make_fill_columns(symbol, route, amount, cost)
    money = np.cumsum(np.concatenate(([cash], columns.values[:, 4])))
    if (money < 0).any() or not (amount > 0).all():
        return None
    store_fill_columns(symbol, route, columns)
    is_open = len(columns.bars) % 2 == 1
    return float(money[-1]), int(route.candidates[-1]) if is_open else NO_CANDIDATE


def compute_fixed_amounts(symbol: SymbolState, route: Route) -> FloatArray:
    """Return the amount of each buy of a fixed size, base currency, shape (m,)."""
    model = symbol.model
    amount = np.full(len(route.candidates), model.size, dtype=np.float64)
    if model.sizing == "quote_amount":
        amount /= route.entry_price * (1 + model.fee_rate)
    return amount


def compute_costs(symbol: SymbolState, route: Route, amount: FloatArray) -> FloatArray:
    """Return the cost of buys of these amounts, fee included, quote currency, shape (m,)."""
    notional = route.entry_price * amount
    return notional + notional * symbol.model.fee_rate


def make_fill_columns(
    symbol: SymbolState, route: Route, amount: FloatArray, cost: FloatArray
) -> FillColumns:
    """Return the fills of a route; the last buy has no sell where its position stays open."""
    count, fee_rate = len(route.candidates), symbol.model.fee_rate
    numbers = np.empty((2 * count, 6))
    _write_fill_values(numbers[0::2], route.entry_price, amount, fee_rate, is_buy=True)
    numbers[0::2, 4] = -cost
    _write_fill_values(numbers[1::2], route.exit_price, amount, route.exit_fee_rate, is_buy=False)
    bars = np.empty(2 * count, dtype=np.int64)
    bars[0::2], bars[1::2] = symbol.plan.entries[route.candidates], route.exits.bar
    prices = np.empty(2 * count)
    prices[0::2], prices[1::2] = symbol.candles.open[bars[0::2]], route.exits.price
    fills = 2 * count - (count > 0 and int(bars[-1]) == len(symbol.candles))
    return FillColumns(
        bars[:fills], numbers[:fills], prices[:fills], route.exits.kind[: fills // 2]
    )


def store_fill_columns(symbol: SymbolState, route: Route, columns: FillColumns) -> None:
    """Store fills in the symbol's fill log.

    Args:
        symbol: State of the symbol, with an empty fill log.
        route: Route of the fills.
        columns: The first fills of the route, or all.
    """
    fill_log, fills = symbol.fill_log, len(columns.bars)
    fill_log.store_columns(columns)
    fill_log.ambiguous = int(route.exits.is_ambiguous[: fills // 2].sum())
    fill_log.base = float(columns.values[-1, 1]) if fills % 2 else 0.0


def _compute_all_in_amounts(
    symbol: SymbolState, route: Route, cash: float
) -> tuple[FloatArray, FloatArray]:
    """Return amount and cost of each buy that spends all cash: the proceeds of the sell before."""
    buy_rate, price = symbol.model.fee_rate, route.entry_price
    unit = price * (1 + buy_rate)
    before: list[float] = []
    columns = (unit, price, route.exit_price, route.exit_fee_rate)
    for each, paid, got, sell_rate in zip(*(column.tolist() for column in columns), strict=True):
        before.append(cash)
        amount = cash / each
        notional = paid * amount
        cost = notional + notional * buy_rate
        back = got * amount
        # In the order of the account's bookings, so that results are equal to the last bit.
        cash = (cash - cost if cost < cash else 0.0) + (back - back * sell_rate)
    held = np.array(before)
    amounts = held / unit
    notionals = price * amounts
    return amounts, np.minimum(notionals + notionals * buy_rate, held)


def _write_fill_values(
    rows: FloatArray,
    price: FloatArray,
    amount: FloatArray,
    rate: FloatArray | float,
    *,
    is_buy: bool,
) -> None:
    """Write the columns of `fills.FillValues`; the caller sets the change of cash of buys."""
    notional = price * amount
    fee = notional * rate
    columns = (price, amount, notional, fee, notional - fee, amount if is_buy else -amount)
    for number, column in enumerate(columns):
        rows[:, number] = column
