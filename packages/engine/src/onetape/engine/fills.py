"""The one fill model: what a market order gets and costs, in a backtest and on paper alike.

An order is filled at the open of a candle, made worse by the slippage and then rounded to the
market's price step against the trader; its amount is rounded down to the amount step. Fees:

    in quote      buy: amount = cash / (price (1 + fee))    sell: proceeds = amount price (1 - fee)
    in received   buy: amount = cash / price, of which amount fee is kept by the exchange; a sell
                  receives quote currency, so it is as above

Floats throughout: whole numbers of steps are exact, and `booked_fill` turns them into Decimals.
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Literal, NamedTuple

from onetape.core.steps import STEP_TOLERANCE, booked, multiple
from onetape.engine.rules import Rules

#: Relative part of the cash by which rounding may miss it.
_CASH_NOISE = 1e-12
#: Digits enough for the exact product of two prices and a fee rate.
_EXACT = Context(prec=80)


class Fill(NamedTuple):
    """One order, executed."""

    side: Literal["buy", "sell"]
    price: float
    """Quote currency, slippage included."""
    amount: float
    """Base currency bought or sold, before a fee in base currency."""
    notional: float
    """`price` times `amount`, quote currency."""
    fee: float
    """Paid to the exchange, in the currency that `fee_in` says."""
    fee_in: Literal["quote", "base"]
    cash_change: float
    """Quote currency; negative for a buy."""
    base_change: float
    """Base currency; negative for a sell."""

    @property
    def fee_quote(self) -> float:
        """Return the fee in quote currency, at the price of the fill."""
        return self.fee if self.fee_in == "quote" else self.fee * self.price


class Refused(NamedTuple):
    """An order that the market would not take."""

    reason: str
    """One sentence with the numbers."""


@dataclass(frozen=True, slots=True)
class BookedFill:
    """The same fill as it is written down; exact, and price times amount times rate is the fee."""

    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_in: Literal["quote", "base"]


@dataclass(frozen=True, slots=True)
class FillModel:
    """The rules as plain floats, for many fills in a row; zero stands for no step."""

    fee_rate: float
    fee_in_base: bool
    slippage: float
    price_step: float
    amount_step: float
    min_amount: float
    min_notional: float
    quote_amount: float | None
    """Quote currency a buy spends; None: all of it."""

    @classmethod
    def of(cls, rules: Rules) -> "FillModel":
        """Return the model of these rules."""
        steps = rules.steps
        return cls(
            fee_rate=rules.fee_rate,
            fee_in_base=rules.fee_coin == "received",
            slippage=rules.slippage_bps / 10_000,
            price_step=float(steps.price_step or 0),
            amount_step=float(steps.amount_step or 0),
            min_amount=float(steps.min_amount),
            min_notional=float(steps.min_notional),
            quote_amount=rules.quote_amount,
        )

    def buy(self, cash: float, open_price: float) -> Fill | Refused:
        """Return the fill of a market buy.

        Args:
            cash: Quote currency at hand.
            open_price: Open of the candle that fills the order.
        """
        budget = cash if self.quote_amount is None else self.quote_amount
        if budget > cash * (1 + _CASH_NOISE):
            return Refused(f"cash {cash:.8g} is less than the order of {budget:.8g}")
        price = open_price * (1 + self.slippage)
        if self.price_step:
            price = -_floor_count(-price / self.price_step) * self.price_step
        fee_rate = self.fee_rate
        unit_cost = price if self.fee_in_base else price * (1 + fee_rate)
        amount = budget / unit_cost
        if self.amount_step:
            amount = self._affordable(budget, unit_cost)
        notional = price * amount
        if amount <= 0 or amount < self.min_amount or notional < self.min_notional:
            return self._too_small("buy", amount, notional)
        if self.fee_in_base:
            fee = amount * fee_rate
            cost = min(notional, cash)
            return Fill("buy", price, amount, notional, fee, "base", -cost, amount - fee)
        fee = notional * fee_rate
        # Rounding may make the cost a hair more than the cash; nobody spends what is not there.
        cost = min(notional + fee, cash)
        return Fill("buy", price, amount, notional, fee, "quote", -cost, amount)

    def sell(self, base: float, open_price: float) -> Fill | Refused:
        """Return the fill of a market sell of all that can be sold; the rest stays as dust.

        Args:
            base: Base currency at hand.
            open_price: Open of the candle that fills the order.
        """
        price = open_price * (1 - self.slippage)
        if self.price_step:
            price = _floor_count(price / self.price_step) * self.price_step
        amount = base
        if self.amount_step:
            amount = min(_floor_count(base / self.amount_step) * self.amount_step, base)
        notional = price * amount
        if amount <= 0 or amount < self.min_amount or notional < self.min_notional:
            return self._too_small("sell", amount, notional)
        fee = notional * self.fee_rate
        return Fill("sell", price, amount, notional, fee, "quote", notional - fee, -amount)

    def _affordable(self, budget: float, unit_cost: float) -> float:
        step = self.amount_step
        count = _floor_count(budget / unit_cost / step)
        if multiple(count, step) * unit_cost > budget * (1 + _CASH_NOISE):
            count -= 1
        return multiple(count, step)

    def _too_small(self, side: str, amount: float, notional: float) -> Refused:
        if amount <= 0 or amount < self.min_amount:
            least = max(self.min_amount, self.amount_step)
            return Refused(f"{side} of {amount:.8g} is under the market's least amount {least:.8g}")
        return Refused(
            f"{side} worth {notional:.8g} is under the market's least value {self.min_notional:.8g}"
        )


def buy_fill(rules: Rules, cash: float, open_price: float) -> Fill | Refused:
    """Return the fill of one market buy; see `FillModel.buy`."""
    return FillModel.of(rules).buy(cash, open_price)


def sell_fill(rules: Rules, base: float, open_price: float) -> Fill | Refused:
    """Return the fill of one market sell; see `FillModel.sell`."""
    return FillModel.of(rules).sell(base, open_price)


def booked_fill(fill: Fill, rules: Rules) -> BookedFill:
    """Return the fill in exact Decimals, for the store.

    The fee is computed from the booked price and amount, so that whoever adds up the table by hand
    gets the same to the last digit.
    """
    price = booked(fill.price, rules.steps.price_step)
    amount = booked(fill.amount, rules.steps.amount_step)
    value = amount if fill.fee_in == "base" else _EXACT.multiply(price, amount)
    fee = _EXACT.multiply(value, Decimal(repr(rules.fee_rate)))
    return BookedFill(price, amount, fee, fill.fee_in)


def _floor_count(count: float) -> int:
    nearest = round(count)
    return nearest if abs(count - nearest) <= STEP_TOLERANCE else math.floor(count)
