"""The cash that several symbols share, without rounding error.

An order may use only the cash that remains after the orders of other symbols. The rest may be a
millionth of the account, and a float's rounding error would change the order's amount. So the cash
is a whole number of units of 1 / (10^tens 2^twos). A fill in whole steps changes the cash by a
decimal; a fill without steps changes the cash by a float, which is a whole number over a power of
two. Both changes are whole numbers of units, and their sums are exact.
"""

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from itertools import accumulate
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
from onetape.core.trading_rules import TradingRules
from onetape.engine.account_config import AccountConfig
from onetape.engine.fills import FillValues

#: Without an amount step, a remainder of at most one part in this many counts as nothing.
_NOISE_PARTS: Final = 10**12
#: Number of binary digits of a unit at the start (`twos`): enough for most changes.
_TWOS: Final = 96
#: Maximum number of binary digits: the power of two must be a float.
_MAX_TWOS: Final = 1_023
#: Number of digits for the exact product of steps and fee rates.
_EXACT: Final = Context(prec=200)


class ExactCash:
    """Cash of an account, exact; quote currency."""

    def __init__(self, rules: Sequence[AccountConfig]) -> None:
        """Begin with the start cash.

        Args:
            rules: Rules of each symbol; they share the start cash.
        """
        start = Decimal(repr(float(rules[0].cash)))
        steps = [_compute_unit_changes(each) for each in rules]
        decimals = [value for each in steps if each is not None for value in each[1:]]
        tens = max(map(_count_decimals, (start, *decimals)))
        self._tens = 10**tens
        self._twos, self._factor = 0, 1.0
        self._per_one = self._tens
        self._units = _scale_to_integer(start, tens)
        self._steps = [
            None
            if each is None
            else _StepChanges(
                float(each[0]),
                float(symbol_rules.trading_rules.amount_step or 0),
                *(_scale_to_integer(value, tens) for value in each[1:]),
            )
            for each, symbol_rules in zip(steps, rules, strict=True)
        ]
        self._has_amount_step = [bool(each.trading_rules.amount_step) for each in rules]
        self._reserved: dict[int, int] = {}
        """Money that is reserved for the open limit order of a symbol, in units, by its index."""
        if None in steps:
            self._refine_units(_TWOS)

    def book(
        self,
        number: int,
        numbers: FillValues,
        *,
        is_maker: bool = False,
        has_price_step: bool = True,
    ) -> float:
        """Add the change of one fill to the cash; return the float nearest to the cash after it.

        The cash is never less than zero. Reserved money is not part of it.

        Args:
            number: Index of the symbol.
            numbers: Values of the fill.
            is_maker: Whether the fill is that of a limit order.
            has_price_step: Whether prices have a step in the fill's month.
        """
        steps = self._steps[number]
        if steps is None or not has_price_step:
            scaled = numbers[4] * self._factor
            is_whole = scaled.is_integer()
            change = (
                int(scaled) * self._tens if is_whole else self._convert_one_to_units(numbers[4])
            )
        else:
            change = steps.compute_change(numbers, is_maker=is_maker) << self._twos
        return self._add(number, change)

    def reserve(self, number: int, numbers: FillValues, *, has_price_step: bool = True) -> float:
        """Reserve the money of a limit order; return the float nearest to the cash that is left.

        Args:
            number: Index of the symbol.
            numbers: Most expensive fill of the order (`FillModel.compute_limit_values`).
            has_price_step: Whether prices have a step in the order's month.
        """
        steps = self._steps[number]
        if steps is None or not has_price_step:
            change = self._convert_one_to_units(numbers[4])
        else:
            change = steps.compute_reserved_change(numbers) << self._twos
        before = self._units
        left = self._add(number, change)
        self._reserved[number] = before - self._units
        return left

    def release(self, number: int) -> float:
        """Return the cash after the money of an order that is over has been added to it again."""
        self._units += self._reserved.pop(number)
        return self._units / self._per_one

    def compute_total(self) -> float:
        """Return the float nearest to the cash and all reserved money."""
        return (self._units + sum(self._reserved.values())) / self._per_one

    def _add(self, number: int, change: int) -> float:
        """Add a change in units to the cash; return the float nearest to the cash after it."""
        before = self._units
        cash = before + change
        if change <= 0:
            noise = 0 if self._has_amount_step[number] else before
            if cash * _NOISE_PARTS <= noise:
                cash = 0
        self._units = cash
        return cash / self._per_one

    def compute_running_cash(self, changes: FloatArray) -> tuple[list[int], FloatArray]:
        """Return the cash before the first and after each of many changes, in units and in floats.

        The cash itself stays unchanged, and sums may be below zero.

        Args:
            changes: Changes of fills without steps, in order, quote currency, shape (m,).

        Returns:
            m + 1 sums in units, for `restore`, and the floats nearest to them, shape (m + 1,).
        """
        units = list(accumulate(self._convert_each_to_units(changes), initial=self._units))
        per_one = self._per_one
        return units, np.fromiter((each / per_one for each in units), np.float64, len(units))

    def restore(self, units: int) -> None:
        """Set the cash to one of the sums that `compute_running_cash` returned last."""
        self._units = units

    def _convert_each_to_units(self, changes: FloatArray) -> Sequence[int]:
        """Return floats as whole numbers of units; the units may become smaller."""
        if not len(changes):
            return []
        self._refine_units(int(53 - np.frexp(changes)[1].min()))
        scaled = changes * self._factor
        if not np.isfinite(scaled).all():
            return [self._convert_one_to_units(change) for change in changes.tolist()]
        whole = list(map(int, scaled.tolist()))
        return whole if self._tens == 1 else [each * self._tens for each in whole]

    def _convert_one_to_units(self, change: float) -> int:
        """Return a float as a whole number of units; the units are made smaller if needed."""
        numerator, denominator = change.as_integer_ratio()
        twos = denominator.bit_length() - 1
        self._refine_units(twos)
        return (numerator << (self._twos - twos)) * self._tens

    def _refine_units(self, twos: int) -> None:
        """Make the units smaller until there are at least this many binary digits."""
        if twos > self._twos:
            self._units <<= twos - self._twos
            for number in self._reserved:
                self._reserved[number] <<= twos - self._twos
            self._per_one <<= twos - self._twos
            self._twos, self._factor = twos, 2.0**twos if twos <= _MAX_TWOS else math.nan


class _StepChanges(Struct, frozen=True):
    """Changes of cash by fills of whole steps, in decimal units."""

    price_unit: float
    """Unit of which all price steps are multiples, quote currency."""
    amount_step: float
    """Amount step, base currency."""
    bought: int
    """Change of one unit of price times one amount step, fee in quote currency included."""
    sold: int
    """Change by selling one unit of price times one amount step by a market order, fee included."""
    target: int
    """Change by selling one unit of price times one amount step by a limit order, fee included."""
    limit: int
    """Change by buying one unit of price times one amount step by a limit order, fee included."""

    def compute_change(self, numbers: FillValues, *, is_maker: bool) -> int:
        """Return the change of one fill; negative for a buy."""
        count = self._count_units(numbers)
        if numbers[4] < 0:
            return count * (self.limit if is_maker else self.bought)
        return count * (self.target if is_maker else self.sold)

    def compute_reserved_change(self, numbers: FillValues) -> int:
        """Return the change by the most expensive fill of a limit order to buy; negative."""
        return self._count_units(numbers) * min(self.limit, self.bought)

    def _count_units(self, numbers: FillValues) -> int:
        """Return the value of a fill as a number of units of price times an amount step."""
        return round(numbers[0] / self.price_unit) * round(numbers[1] / self.amount_step)


def _compute_unit_changes(rules: AccountConfig) -> tuple[Decimal, ...] | None:
    """Return a unit of price, and the changes of cash of one such unit times an amount step.

    The changes are those of a buy, of a sell at the market, of a target and of a buy by a limit
    order, fees in quote currency included. None where price or amount has no step.
    """
    trading_rules = rules.trading_rules
    if not trading_rules.price_step or not trading_rules.amount_step:
        return None
    price_unit = _compute_price_unit(trading_rules.price_step, trading_rules)
    unit = _EXACT.multiply(price_unit, trading_rules.amount_step)
    fee, target_fee = (Decimal(repr(rate)) for rate in (rules.fee_rate, rules.target_fee_rate))
    is_in_base = rules.fee_currency == "base"
    bought, limit = (
        Decimal(1) if is_in_base else _EXACT.add(1, rate) for rate in (fee, target_fee)
    )
    sold, target = _EXACT.subtract(1, fee), _EXACT.subtract(1, target_fee)
    return (
        price_unit,
        _EXACT.multiply(unit, -bought),
        _EXACT.multiply(unit, sold),
        _EXACT.multiply(unit, target),
        _EXACT.multiply(unit, -limit),
    )


def _compute_price_unit(price_step: Decimal, trading_rules: TradingRules) -> Decimal:
    """Return the unit of which the price steps of all months are multiples."""
    steps = [month.price_step for month in trading_rules.months or () if month.price_step]
    if not steps:
        return price_step
    return Decimal(1).scaleb(-max(map(_count_decimals, (price_step, *steps))))


def _count_decimals(value: Decimal) -> int:
    """Return the number of decimal places of a value."""
    return max(0, -int(_EXACT.normalize(value).as_tuple().exponent))


def _scale_to_integer(value: Decimal, decimals: int) -> int:
    """Return a value as a whole number of 1 / 10^decimals."""
    return int(_EXACT.scaleb(value, decimals))
