"""What a run assumes about money, fees and the market; stated in every result."""

import math
from dataclasses import dataclass
from typing import Literal

from onetape.core.errors import UsageError
from onetape.core.steps import IDEAL_MARKET, MarketSteps
from onetape.core.words import did_you_mean

FeeCoin = Literal["quote", "received"]
Sizing = Literal["all_in", "quote_amount"]

_FEE_COINS = ("quote", "received")
_SIZINGS = ("all_in", "quote_amount")


@dataclass(frozen=True, slots=True)
class Rules:
    """The one set of rules for backtest and paper. Spot, long only, one position at a time."""

    cash: float = 10_000.0
    """Quote currency at the start."""
    fee_rate: float = 0.001
    """Part of an order's value that the exchange takes; 0.001 is 0.1 %."""
    fee_coin: FeeCoin = "quote"
    """What a buy's fee is paid in: quote currency, or the coin received, as Binance does."""
    slippage_bps: float = 0.0
    """How much worse than the open an order fills, in 1/10,000 of the price."""
    sizing: Sizing = "all_in"
    """all_in: a buy spends all cash. quote_amount: a buy spends `quote_amount`."""
    quote_amount: float | None = None
    """Quote currency that a buy spends, its fee included; only with that sizing."""
    steps: MarketSteps = IDEAL_MARKET
    """Price step, amount step and minimums of the market."""

    def __post_init__(self) -> None:
        """Check every rule.

        Raises:
            UsageError: one cannot be used; the text names it, what is allowed and what was found.
        """
        _require(self.cash > 0, "cash", "above 0", self.cash)
        _require(0 <= self.fee_rate < 1, "fee_rate", "0 or more and under 1", self.fee_rate)
        in_range = 0 <= self.slippage_bps < 10_000
        _require(in_range, "slippage_bps", "0 or more and under 10,000", self.slippage_bps)
        _require_word("fee_coin", self.fee_coin, _FEE_COINS)
        _require_word("sizing", self.sizing, _SIZINGS)
        if self.sizing == "all_in":
            _require(
                self.quote_amount is None, "quote_amount", "left out with sizing all_in", "one"
            )
        else:
            amount = self.quote_amount or 0.0
            _require(amount > 0, "quote_amount", "above 0 with sizing quote_amount", amount)


def _require(holds: bool, name: str, allowed: str, found: object) -> None:
    finite = not isinstance(found, float) or math.isfinite(found)
    if not (holds and finite):
        raise UsageError(f"{name} must be {allowed}, found {found}")


def _require_word(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(
            f"{name} must be one of {', '.join(allowed)}, found {value!r}"
            f"{did_you_mean(str(value), allowed)}"
        )
