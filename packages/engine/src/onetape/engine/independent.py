"""Fast simulation of symbols that share an account, until one symbol's orders affect another's.

If each entry has a fixed amount of quote or base currency, one symbol affects another's orders only
by taking the last slot or too much cash. So each symbol is first traded as if it had the account
alone; then all fills are put in the order of events, and the cash is added up exactly. As long as
each entry finds a slot and enough cash, every fill equals that of `SharedAccount`. From the first
entry without a slot or cash on, `SharedAccount` continues event by event.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.exits import SIGNAL, TIME_STOP
from onetape.engine.fill_log import FillColumns
from onetape.engine.fills import CASH_NOISE
from onetape.engine.shared_account import ENTRY, EXIT_AT_OPEN, EXIT_INSIDE, SharedAccount
from onetape.engine.symbol_state import SymbolState
from onetape.engine.time_axis import find_axis_indices, is_whole
from onetape.engine.vectorized import (
    FIXED_SIZINGS,
    Route,
    compute_costs,
    compute_fixed_amounts,
    find_plain_route,
    make_fill_columns,
    store_fill_columns,
)

#: Fraction of the cash that an order must leave to be handled here; half of it counts as rounding
#: noise in `ExactCash`.
_MIN_CASH_LEFT: Final = 2e-12


class _IndependentSymbol(NamedTuple):
    """A symbol of a shared account, traded as if the account had no other symbol."""

    symbol: SymbolState
    route: Route | None
    """Entries and exits of the symbol; None: there is no entry."""
    columns: FillColumns
    kinds: IntArray
    """Event kind of each fill."""


class _MergedFills(NamedTuple):
    """The fills of all symbols in the order of events; arrays have shape (m,)."""

    number: IntArray
    """Index of the symbol of each fill."""
    axis_index: IntArray
    """Index of each fill's candle on the common time axis."""
    values: FloatArray
    """Values of each fill in the order of `fills.FillValues`, shape (m, 6)."""
    is_buy: NDArray[np.bool_]
    """Whether each fill is a buy."""


def trade_independent(account: SharedAccount) -> bool:
    """Carry out the fills of a shared account up to the first that depends on two symbols.

    Returns:
        True: these fills were carried out; the caller continues with `SharedAccount.trade`.
        False: the rules do not allow this, and nothing was done.
    """
    if any(one.model.sizing not in FIXED_SIZINGS for one in account.symbols):
        return False
    alone = [_trade_independently(symbol) for symbol in account.symbols]
    found = [one for one in alone if one is not None]
    if len(found) < len(alone):
        return False
    merged = _merge_fills(found, account.axis)
    units, cash = account.exact.compute_running_cash(merged.values[:, 4])
    is_possible = _mask_possible_fills(account, merged, cash[:-1], cash[1:])
    count = len(is_possible) if is_possible.all() else int(is_possible.argmin())
    account.exact.restore(units[count])
    counts = np.bincount(merged.number[:count], minlength=len(found)).tolist()
    candidates = [_store_first_fills(one, fills) for one, fills in zip(found, counts, strict=True)]
    account.continue_from(
        merged.axis_index[:count],
        cash[: count + 1],
        candidates,
        is_open=[fills % 2 == 1 for fills in counts],
    )
    return True


def _trade_independently(symbol: SymbolState) -> _IndependentSymbol | None:
    """Return a symbol's trades as if it had the account alone; None: its rules are not plain."""
    candidate = symbol.plan.find_entry_from(0)
    if candidate == NO_CANDIDATE:
        no_kinds = np.empty(0, dtype=np.int64)
        return _IndependentSymbol(symbol, None, symbol.fill_log.get_fill_columns(), no_kinds)
    route = find_plain_route(symbol, candidate)
    if route is None:
        return None
    amount = compute_fixed_amounts(symbol, route)
    columns = make_fill_columns(symbol, route, amount, compute_costs(symbol, route, amount))
    kinds = np.full(len(columns.bars), ENTRY)
    kinds[1::2] = np.where(_mask_exits_at_open(symbol, route), EXIT_AT_OPEN, EXIT_INSIDE)[
        : len(columns.kinds)
    ]
    return _IndependentSymbol(symbol, route, columns, kinds)


def _mask_exits_at_open(symbol: SymbolState, route: Route) -> NDArray[np.bool_]:
    """Return `SymbolState.is_exit_at_open` of each exit, as a mask."""
    exits, opens = route.exits, symbol.candles.open
    open_ = opens[np.minimum(exits.bar, len(opens) - 1)]
    is_inside = exits.is_ambiguous | (exits.bar == symbol.plan.entries[route.candidates])
    is_order = (exits.kind == SIGNAL) | (exits.kind == TIME_STOP)
    return is_order | (~is_inside & (exits.price == open_))


def _merge_fills(alone: Sequence[_IndependentSymbol], axis: IntArray) -> _MergedFills:
    """Return all fills in the order of events."""
    count = len(alone)
    keys: list[IntArray] = []
    for number, one in enumerate(alone):
        bars, opens = one.columns.bars, one.symbol.candles.timestamp
        axis_indices = bars if is_whole(opens, axis) else find_axis_indices(axis, opens[bars])
        keys.append((axis_indices * 3 + one.kinds) * count + number)
    key = np.concatenate(keys)
    # Each symbol's fills are in order, so a stable sort merges them.
    order = np.argsort(key, kind="stable")
    key = key[order]
    numbers = np.concatenate([one.columns.values for one in alone])[order]
    return _MergedFills(key % count, key // (3 * count), numbers, key // count % 3 == ENTRY)


def _mask_possible_fills(
    account: SharedAccount, merged: _MergedFills, before: FloatArray, after: FloatArray
) -> NDArray[np.bool_]:
    """Return the mask of the fills that have a slot and enough cash, if all earlier fills have.

    Args:
        account: The account.
        merged: The fills.
        before: Cash before each fill, quote currency, shape (m,).
        after: Cash after each fill, quote currency, shape (m,).
    """
    price, amount, notional, fee, change = (merged.values[:, column] for column in range(5))
    model = account.symbols[0].model
    held = np.cumsum(np.where(merged.is_buy, 1, -1))
    required = np.full(len(price), model.size)
    if model.sizing == "base_amount":
        required *= price * (1 + model.fee_rate)
    is_paid = (required <= before * (1 + CASH_NOISE)) & (notional + fee <= before)
    is_paid &= after > before * _MIN_CASH_LEFT
    has_slot = held <= account.max_open_trades
    is_sold = ~merged.is_buy & (change > 0)
    return (amount > 0) & (is_sold | (merged.is_buy & is_paid & has_slot))


def _store_first_fills(one: _IndependentSymbol, fills: int) -> int:
    """Store a symbol's first fills in its log.

    Returns:
        Candidate of the open position or of the next entry; NO_CANDIDATE: there is none.
    """
    if one.route is None:
        return NO_CANDIDATE
    columns = one.columns
    store_fill_columns(
        one.symbol,
        one.route,
        FillColumns(
            columns.bars[:fills],
            columns.values[:fills],
            columns.prices[:fills],
            columns.kinds[: fills // 2],
        ),
    )
    trade = fills // 2
    return int(one.route.candidates[trade]) if trade < len(one.route.candidates) else NO_CANDIDATE
