"""Orders that the account or the market refused, with the reason."""

from typing import Final, Literal

from msgspec import Struct

from onetape.core.digits import format_number

OrderRefusalKind = Literal[
    "cash_below_order",
    "cash_below_cost",
    "volatility_unknown",
    "slots_taken",
    "buy_amount_too_small",
    "buy_value_too_small",
    "volume_limit_too_small",
    "sell_amount_too_small",
    "sell_value_too_small",
    "rest_unsellable",
    "stop_amount_unsellable",
    "stop_value_unsellable",
]
_AT_STOP: Final = "buy of value {order} could not be sold at its stop, where the "
_SELL_AMOUNT: Final = "sell of {found} is below the market's minimum amount {required}"
_SELL_VALUE: Final = "sell value {found} is below the market's minimum value {required}"
_REASONS: Final[dict[OrderRefusalKind, str]] = {
    "cash_below_order": "cash {found} is less than the order of {required}",
    "cash_below_cost": "cash {found} is less than the order's cost of {required}",
    "volatility_unknown": "the volatility is not known yet: too few closes before the order",
    "slots_taken": "all slots are taken: the account may have {required} in all its processes",
    "buy_amount_too_small": "buy of {found} is below the market's minimum amount {required}",
    "buy_value_too_small": "buy value {found} is below the market's minimum value {required}",
    "volume_limit_too_small": "the last candle's volume is {order}, so max_volume_share {required} "
    "allows a buy of {found}, which is too small for an order",
    "sell_amount_too_small": _SELL_AMOUNT,
    "sell_value_too_small": _SELL_VALUE,
    "rest_unsellable": "buy of {order} would leave {found} after its fee, below the market's "
    "minimum amount {required}: it could not be sold",
    "stop_amount_unsellable": _AT_STOP + _SELL_AMOUNT,
    "stop_value_unsellable": _AT_STOP + _SELL_VALUE,
}


class RefusedOrder(Struct, frozen=True, gc=False):
    """An order that the account or the market refused.

    A run may have a hundred thousand of them, so the text is made only when it is read, and the
    garbage collector does not track these objects.
    """

    kind: OrderRefusalKind
    """Reason of the refusal, as a name."""
    found: float = 0.0
    """Available cash (quote currency), or an order's amount (base currency) or value (quote
    currency) that is too small."""
    required: float = 0.0
    """Minimum cash, amount or value of an order, in the unit of `found`.

    For slots_taken: number of slots. For volume_limit_too_small: fraction of the volume.
    """
    order: float = 0.0
    """Amount (for rest_unsellable) or value of a buy whose coins could not be sold again; for
    volume_limit_too_small the volume of the last candle, base currency."""

    @property
    def reason(self) -> str:
        """Return the reason of the refusal with its numbers, as one sentence."""
        numbers = (self.found, self.required, self.order)
        found, required, order = (format_number(one) for one in numbers)
        return _REASONS[self.kind].format(found=found, required=required, order=order)
