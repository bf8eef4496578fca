"""The fill model of backtest and paper account: price, amount and cost of an order.

A market order is filled at the open of a candle, or at a stop, made worse by the slippage and then
rounded to the market's price step against the trader; a limit order is filled at its price, or at
an open beyond it, like a market order but at most at its price. The amount is rounded down to the
amount step. A price is never 0: it is at least one price step. Fees:

    in quote      buy: amount = cash / (price (1 + fee))    sell: proceeds = amount price (1 - fee)
    in base       buy: amount = cash / price, of which the exchange takes amount x fee; a sell pays
                  its fee in quote currency, as above

Slippage is the sum of a fixed part, half of the spread, and `volume_impact` times the order's share
(at most 1) of the volume of the candle before the fill, which is known when the order is sent.
Where a budget is spent, price and amount depend on each other: with p the price without impact, k
the impact and V the volume, p (1 + k a / V) a = budget is a quadratic equation in a.

The amount of a buy is limited to `max_volume_share` times that volume; that of a sell is not.

All numbers are floats, with whole numbers of steps; `booking.py` turns them into Decimals.
"""

import math
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.trading_rules import count_ceil_steps, count_floor_steps, multiply_step
from onetape.engine.account_config import AccountConfig, Sizing
from onetape.engine.refused_orders import RefusedOrder

#: Relative error by which an order's cost may exceed the cash because of float rounding.
CASH_NOISE = 1e-12
#: Factor of a market's minimum that allows for the rounding of floats.
_MINIMUM_FACTOR = 1 - 1e-9


class ModelFill(NamedTuple):
    """Fill of one order by the fill model."""

    side: Literal["buy", "sell"]
    price: float
    """Price of the fill, slippage included, quote currency."""
    amount: float
    """Amount bought or sold, base currency, before a fee in base currency."""
    notional: float
    """Value of the fill: `price` times `amount`, quote currency."""
    fee: float
    """Fee paid to the exchange, in the currency `fee_in`."""
    fee_in: Literal["quote", "base"]
    """Currency of the fee: quote or base."""
    cash_change: float
    """Change of the cash, quote currency; negative for a buy."""
    base_change: float
    """Change of the base currency held; negative for a sell."""
    before_slippage: float
    """Price before slippage, quote currency: the open, the stop or the limit."""
    is_maker: bool
    """Whether the fill is of a limit order that rested in the book."""

    @property
    def fee_quote(self) -> float:
        """Return the fee in quote currency, at the price of the fill."""
        return self.fee if self.fee_in == "quote" else self.fee * self.price

    @property
    def slippage_quote(self) -> float:
        """Return the cost of slippage and of rounding to the price step, quote currency."""
        return abs(self.price - self.before_slippage) * self.amount


#: A fill as plain numbers: price, amount, notional, fee, change of cash, change of coins.
FillValues = tuple[float, float, float, float, float, float]


class OrderContext(Struct, frozen=True, gc=False):
    """Values that size and slippage of an order depend on, in addition to its price."""

    volume: float = 0.0
    """Volume of the candle before the fill, base currency."""
    equity: float | None = None
    """Equity of the account, quote currency; None: equal to its cash."""
    volatility: float | None = None
    """Annual volatility of the market, known before the order; None: not known."""


EMPTY_CONTEXT = OrderContext()


class FillModel(Struct, frozen=True):
    """Rules of an account and market as plain floats, which compute the fills of orders.

    A step, minimum, impact or `max_volume_share` of 0 means that there is none.
    """

    fee_rate: float
    """Fee of a market order, as a fraction of its value."""
    maker_fee_rate: float
    """Fee of a limit order, as a fraction of its value."""
    fee_in_base: bool
    """Whether a buy pays its fee in base currency."""
    slippage: float
    """Fixed slippage and half the spread, as a fraction of the price."""
    impact: float
    """Price loss of an order as large as its candle's volume, as a fraction of the price."""
    max_volume_share: float
    """Largest fraction of the volume that a buy takes."""
    uses_volume: bool
    """Whether the volume changes a buy: by its impact, or by `max_volume_share`."""
    price_step: float
    """Step that prices are whole numbers of, quote currency."""
    amount_step: float
    """Step that amounts are whole numbers of, base currency."""
    min_amount: float
    """Minimum amount of an order, base currency."""
    min_notional: float
    """Minimum value of an order, quote currency."""
    sizing: Sizing
    """Rule for the size of a buy."""
    size: float
    """Number that belongs to the sizing, such as a ratio or an amount; 0 for all_in."""
    stop_ratio: float | None
    """First stop level as a ratio of the entry price."""

    @classmethod
    def from_rules(cls, rules: AccountConfig) -> "FillModel":
        """Return the fill model of an account's rules."""
        trading_rules, loss = rules.trading_rules, rules.exits.first_stop
        return cls(
            fee_rate=rules.fee_rate,
            maker_fee_rate=rules.target_fee_rate,
            fee_in_base=rules.fee_currency == "base",
            slippage=rules.slippage,
            impact=rules.volume_impact,
            max_volume_share=rules.max_volume_share or 0.0,
            uses_volume=rules.volume_impact > 0 or rules.max_volume_share is not None,
            price_step=float(trading_rules.price_step or 0),
            amount_step=float(trading_rules.amount_step or 0),
            min_amount=float(trading_rules.min_amount),
            min_notional=float(trading_rules.min_notional),
            sizing=rules.sizing,
            size=0.0 if rules.sizing == "all_in" else getattr(rules, rules.sizing),
            stop_ratio=None if loss is None else 1.0 - loss,
        )

    @property
    def is_plain(self) -> bool:
        """Return whether there are no steps, minimums, volume impact and fees in base currency."""
        limits = (self.price_step, self.amount_step, self.min_amount, self.min_notional)
        return not (any(limits) or self.uses_volume or self.fee_in_base)

    def buy(
        self, cash: float, price: float, context: OrderContext = EMPTY_CONTEXT
    ) -> ModelFill | RefusedOrder:
        """Return the fill of a market buy.

        Args:
            cash: Available quote currency.
            price: Open of the candle that fills the order.
            context: Other values that sizing and slippage depend on.
        """
        numbers = self.compute_buy_values(cash, price, context)
        return numbers if isinstance(numbers, RefusedOrder) else self.make_buy_fill(numbers, price)

    def sell(
        self,
        base: float,
        price: float,
        context: OrderContext = EMPTY_CONTEXT,
        *,
        is_maker: bool = False,
    ) -> ModelFill | RefusedOrder:
        """Return the fill of a sell of all that can be sold; the rest stays as dust.

        Args:
            base: Available base currency.
            price: Open of the candle, or the level inside it, that fills the order.
            context: Other values that the slippage depends on.
            is_maker: Whether it is a limit order: no slippage, and its own fee.
        """
        numbers = self.compute_sell_values(base, price, context.volume, is_maker)
        return (
            numbers
            if isinstance(numbers, RefusedOrder)
            else self.make_sell_fill(numbers, price, is_maker)
        )

    def is_buy_limited(
        self,
        amount: float,
        cash: float,
        open_price: float,
        context: OrderContext,
        *,
        is_limit: bool = False,
    ) -> bool:
        """Return whether `max_volume_share` limits the amount of a buy.

        Args:
            amount: Amount of the buy's fill, base currency.
            cash: Available quote currency before the buy.
            open_price: Open of the candle that fills the buy, or its limit.
            context: Context of the buy.
            is_limit: Whether it is a limit order.
        """
        if not self.max_volume_share:
            return False
        unlimited = replace(self, max_volume_share=0.0)
        compute = unlimited.compute_limit_values if is_limit else unlimited.compute_buy_values
        found = compute(cash, open_price, context)
        return not isinstance(found, RefusedOrder) and found[1] > amount

    def make_buy_fill(
        self, numbers: FillValues, price: float, *, is_maker: bool = False
    ) -> ModelFill:
        """Return the fill of values that `compute_buy_values` or `compute_limit_fill` returned."""
        fee_in = "base" if self.fee_in_base else "quote"
        return ModelFill("buy", *numbers[:4], fee_in, *numbers[4:], price, is_maker)

    def make_sell_fill(self, numbers: FillValues, price: float, is_maker: bool) -> ModelFill:
        """Return the fill of values that `compute_sell_values` returned."""
        return ModelFill("sell", *numbers[:4], "quote", *numbers[4:], price, is_maker)

    def compute_buy_values(
        self, cash: float, open_price: float, context: OrderContext
    ) -> FillValues | RefusedOrder:
        """Return the fill of `buy` as plain numbers, which is faster than an object per fill."""
        price = open_price * (1 + self.slippage)
        if self.price_step:
            price = self._round_price_up(price)
        return self._compute_entry(cash, open_price, price, self.fee_rate, context)

    def compute_limit_values(
        self, cash: float, limit: float, context: OrderContext
    ) -> FillValues | RefusedOrder:
        """Return the most expensive fill of a limit order to buy, for which money is reserved.

        That is a fill at the limit with the larger of both fees.

        Args:
            cash: Available quote currency.
            limit: Price of the order, of whole price steps.
            context: Other values that the size depends on.
        """
        fee_rate = max(self.fee_rate, self.maker_fee_rate)
        return self._compute_entry(cash, limit, limit, fee_rate, context, is_limit=True)

    def compute_limit_fill(
        self, reserved: FillValues, open_price: float | None, volume: float
    ) -> FillValues:
        """Return the fill of a limit order to buy as plain numbers.

        Args:
            reserved: Values of `compute_limit_values`, when the order was sent.
            open_price: Open below the limit that fills the order; None: it is filled at the limit.
            volume: Volume of the candle before the fill, base currency.
        """
        price, amount = reserved[:2]
        fee_rate = self.maker_fee_rate
        if open_price is not None:
            fee_rate, slippage = self.fee_rate, self.slippage
            if self.impact:
                slippage += self.impact * _compute_volume_share(amount, volume)
            slipped = open_price * (1 + slippage)
            price = min(self._round_price_up(slipped) if self.price_step else slipped, price)
        notional = price * amount
        if self.fee_in_base:
            fee, cost, received = amount * fee_rate, notional, amount - amount * fee_rate
        else:
            fee, received = notional * fee_rate, amount
            cost = notional + fee
        return price, amount, notional, fee, -min(cost, -reserved[4]), received

    def _compute_entry(
        self,
        cash: float,
        open_price: float,
        price: float,
        fee_rate: float,
        context: OrderContext,
        *,
        is_limit: bool = False,
    ) -> FillValues | RefusedOrder:
        """Return the fill of an entry as plain numbers.

        Args:
            cash: Available quote currency.
            open_price: Open of the candle that fills the order, or the limit.
            price: Price of the fill without volume impact, quote currency.
            fee_rate: Fee of the order.
            context: Other values that sizing and slippage depend on.
            is_limit: Whether it is a limit order, whose price no volume changes.
        """
        unit_cost = price if self.fee_in_base else price * (1 + fee_rate)
        sizing = self.sizing
        if sizing == "all_in":
            budget = cash
            amount = budget / unit_cost
        elif sizing == "equity_share":
            budget = self._compute_equity_share(self.size, cash, context)
            amount = budget / unit_cost
        else:
            sized = self._size_entry(cash, open_price, unit_cost, context)
            if isinstance(sized, RefusedOrder):
                return sized
            budget, amount = sized
        if self.uses_volume:
            price, unit_cost, amount = self._apply_volume(
                open_price, budget, (price, unit_cost, amount), context.volume, is_limit=is_limit
            )
        if self.amount_step:
            amount = self._compute_affordable_amount(amount, unit_cost, budget)
        notional = price * amount
        min_amount, min_notional = (
            self.min_amount * _MINIMUM_FACTOR,
            self.min_notional * _MINIMUM_FACTOR,
        )
        if amount <= 0 or amount < min_amount or notional < min_notional:
            is_limited = self.is_buy_limited(amount, cash, open_price, context, is_limit=is_limit)
            return self._make_small_buy_refusal(amount, notional, context, is_limited=is_limited)
        # Rounding may make the cost slightly more than the cash; no more than the cash is spent.
        if self.fee_in_base:
            fee, cost, received = amount * fee_rate, notional, amount - amount * fee_rate
        else:
            fee, received = notional * fee_rate, amount
            cost = notional + fee
        numbers = price, amount, notional, fee, -cost if cost < cash else -cash, received
        if self.min_amount or self.min_notional or self.amount_step:
            return self._find_exit_refusal(numbers, open_price, context.volume) or numbers
        return numbers

    def compute_sell_values(
        self,
        base: float,
        at_price: float,
        volume: float,
        is_maker: bool,
    ) -> FillValues | RefusedOrder:
        """Return the fill of `sell` as plain numbers, which is faster than an object per fill."""
        amount = self._compute_sellable_amount(base) if self.amount_step else base
        if is_maker:
            price, fee_rate = at_price, self.maker_fee_rate
        else:
            slippage = self.slippage
            if self.impact:
                slippage += self.impact * _compute_volume_share(amount, volume)
            price, fee_rate = at_price * (1 - slippage), self.fee_rate
        if self.price_step:
            price = self._round_price_down(price, at_price)
        notional = price * amount
        min_amount, min_notional = (
            self.min_amount * _MINIMUM_FACTOR,
            self.min_notional * _MINIMUM_FACTOR,
        )
        if amount <= 0 or amount < min_amount or notional < min_notional:
            return self._make_too_small_refusal("sell", amount, notional)
        fee = notional * fee_rate
        return price, amount, notional, fee, notional - fee, -amount

    def _size_entry(
        self, cash: float, open_price: float, unit_cost: float, context: OrderContext
    ) -> tuple[float, float] | RefusedOrder:
        """Return the money that an entry spends, quote currency, and its amount, base currency."""
        size, sizing = self.size, self.sizing
        equity = cash if context.equity is None else context.equity
        if sizing == "quote_amount":
            if size > cash * (1 + CASH_NOISE):
                return RefusedOrder("cash_below_order", cash, size)
            return size, size / unit_cost
        if sizing == "base_amount":
            cost = size * unit_cost
            if cost > cash * (1 + CASH_NOISE):
                return RefusedOrder("cash_below_cost", cash, cost)
            return cash, size
        if sizing == "risk_per_trade":
            stop = open_price * (self.stop_ratio or 0.0)
            back = stop * (1 - self.slippage) * (1 - self.fee_rate)
            if self.fee_in_base:
                back *= 1 - self.fee_rate
            return cash, min(size * equity / (unit_cost - back), cash / unit_cost)
        if sizing == "volatility_target":
            if context.volatility is None:
                return RefusedOrder("volatility_unknown")
            size = size / context.volatility if context.volatility > 0 else 1.0
        budget = self._compute_equity_share(size, cash, context)
        return budget, budget / unit_cost

    def _compute_equity_share(self, share: float, cash: float, context: OrderContext) -> float:
        """Return a fraction of the account's equity, as far as the cash goes; quote currency."""
        equity = cash if context.equity is None else context.equity
        share_value = share * equity if share < 1.0 else equity
        return share_value if share_value < cash else cash

    def _apply_volume(
        self,
        open_price: float,
        budget: float,
        order: tuple[float, float, float],
        volume: float,
        *,
        is_limit: bool,
    ) -> tuple[float, float, float]:
        """Return price, cost of a coin and amount of an order, with the limit and the impact."""
        price, unit_cost, amount = order
        if self.max_volume_share:
            amount = min(amount, self.max_volume_share * volume)
        if self.impact and not is_limit:
            return self._apply_impact(open_price, budget, amount, volume)
        return price, unit_cost, amount

    def _apply_impact(
        self, open_price: float, budget: float, amount: float, volume: float
    ) -> tuple[float, float, float]:
        """Return price, cost of a coin and amount of an order that moves the market."""
        fixed, fee_factor = 1 + self.slippage, 1.0 if self.fee_in_base else 1 + self.fee_rate
        spent = budget / (open_price * fee_factor)
        # For an order above the whole volume the impact is k: amount = budget / price.
        if 0 < spent < volume * (fixed + self.impact):
            # p (fixed + k a / V) a = budget, solved for a; the fraction is the one without loss of
            # digits where k is small.
            root = math.sqrt(fixed * fixed + 4 * self.impact / volume * spent)
            amount = min(amount, 2 * spent / (fixed + root))
        else:
            amount = min(amount, spent / (fixed + self.impact))
        price = open_price * (fixed + self.impact * _compute_volume_share(amount, volume))
        if self.price_step:
            price = self._round_price_up(price)
        unit_cost = price * fee_factor
        return price, unit_cost, min(amount, budget / unit_cost)

    def _compute_sellable_amount(self, base: float) -> float:
        """Return the amount that can be sold, base currency; the rest is dust."""
        if not self.amount_step:
            return base
        return min(
            multiply_step(count_floor_steps(base / self.amount_step), self.amount_step), base
        )

    def _round_price_down(self, price: float, at_price: float) -> float:
        """Return a sell's price rounded down to whole price steps, at least one step."""
        count = count_floor_steps(price / self.price_step)
        return multiply_step(count, self.price_step) if count else min(self.price_step, at_price)

    def _round_price_up(self, price: float) -> float:
        return multiply_step(count_ceil_steps(price / self.price_step), self.price_step)

    def _compute_affordable_amount(self, amount: float, unit_cost: float, budget: float) -> float:
        step = self.amount_step
        count = count_floor_steps(amount / step)
        if multiply_step(count, step) * unit_cost > budget * (1 + CASH_NOISE):
            count -= 1
        return multiply_step(count, step)

    def _find_exit_refusal(
        self, bought: FillValues, open_price: float, volume: float
    ) -> RefusedOrder | None:
        """Return the refusal of a buy whose coins could not be sold at its stop, or None.

        Without a stop only the amount is checked, because the price of the sale is unknown.
        """
        if self.stop_ratio is None:
            if not self._is_under(self._compute_sellable_amount(bought[5]), self.min_notional):
                return None
            minimum = max(self.min_amount, self.amount_step)
            return RefusedOrder("rest_unsellable", bought[5], minimum, bought[1])
        sold = self.compute_sell_values(
            bought[5], open_price * self.stop_ratio, volume, is_maker=False
        )
        if not isinstance(sold, RefusedOrder):
            return None
        is_amount = sold.kind == "sell_amount_too_small"
        kind = "stop_amount_unsellable" if is_amount else "stop_value_unsellable"
        return RefusedOrder(kind, sold.found, sold.required, bought[2])

    def _is_under(self, amount: float, notional: float) -> bool:
        """Return whether an order is below a minimum by more than float rounding."""
        is_less = amount <= 0 or amount < self.min_amount * _MINIMUM_FACTOR
        return is_less or notional < self.min_notional * _MINIMUM_FACTOR

    def _make_small_buy_refusal(
        self, amount: float, notional: float, context: OrderContext, *, is_limited: bool
    ) -> RefusedOrder:
        """Return the refusal of a buy that is too small, maybe because of `max_volume_share`."""
        if is_limited:
            share = self.max_volume_share
            return RefusedOrder(
                "volume_limit_too_small", share * context.volume, share, context.volume
            )
        return self._make_too_small_refusal("buy", amount, notional)

    def _make_too_small_refusal(
        self, side: Literal["buy", "sell"], amount: float, notional: float
    ) -> RefusedOrder:
        if self._is_under(amount, self.min_notional):
            minimum = max(self.min_amount, self.amount_step)
            kind = "buy_amount_too_small" if side == "buy" else "sell_amount_too_small"
            return RefusedOrder(kind, amount, minimum)
        kind = "buy_value_too_small" if side == "buy" else "sell_value_too_small"
        return RefusedOrder(kind, notional, self.min_notional)


def simulate_buy(
    rules: AccountConfig, cash: float, open_price: float, context: OrderContext = EMPTY_CONTEXT
) -> ModelFill | RefusedOrder:
    """Return the fill of one market buy; see `FillModel.buy`."""
    return FillModel.from_rules(rules).buy(cash, open_price, context)


def simulate_sell(
    rules: AccountConfig,
    base: float,
    open_price: float,
    context: OrderContext = EMPTY_CONTEXT,
    *,
    is_maker: bool = False,
) -> ModelFill | RefusedOrder:
    """Return the fill of one sell; see `FillModel.sell`."""
    return FillModel.from_rules(rules).sell(base, open_price, context, is_maker=is_maker)


def _compute_volume_share(amount: float, volume: float) -> float:
    """Return an order's amount divided by the volume of its candle, at most 1."""
    return min(1.0, amount / volume) if volume > 0 else 1.0
