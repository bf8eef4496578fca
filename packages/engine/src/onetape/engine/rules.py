"""What a run assumes about money, fees and the market; stated in every result."""

import math
from typing import Literal

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.steps import IDEAL_MARKET, MarketSteps
from onetape.core.words import did_you_mean
from onetape.engine.exits import MOST_BARS, NO_EXITS, ExitRules

FeeCoin = Literal["quote", "received"]
Sizing = Literal[
    "all_in",
    "quote_amount",
    "base_amount",
    "equity_share",
    "risk_per_trade",
    "volatility_target",
]

#: After an exit: new_signal lets each run of BUYs lead to one entry, while_signal any BUY enter.
Reentry = Literal["new_signal", "while_signal"]

_FEE_COINS = ("quote", "received")
_REENTRIES = ("new_signal", "while_signal")
#: Every sizing, with the largest number that may go with it; all_in takes none.
_SIZINGS = {
    "all_in": 0.0,
    "quote_amount": math.inf,
    "base_amount": math.inf,
    "equity_share": 1.0,
    "risk_per_trade": 1.0,
    "volatility_target": math.inf,
}


class Rules(Struct, frozen=True):
    """The one set of rules for backtest and paper. Spot, long only, one position in a symbol."""

    cash: float = 10_000.0
    """Quote currency at the start."""
    fee_rate: float = 0.001
    """Part of an order's value that the exchange takes; 0.001 is 0.1 %. Market orders (taker)."""
    maker_fee_rate: float | None = None
    """The same for targets, which are limit orders; None: as `fee_rate`."""
    fee_coin: FeeCoin = "quote"
    """What a buy's fee is paid in: quote currency, or the coin received, as Binance does."""
    slippage_bps: float = 0.0
    """How much worse than the open or the stop a market order fills, in 1/10,000 of the price."""
    spread_bps: float = 0.0
    """Between best bid and best ask, in 1/10,000; a market order pays half of it each way."""
    volume_impact: float = 0.0
    """Part of the price that an order as large as the candle before loses; smaller: pro rata."""
    sizing: Sizing = "all_in"
    """What a buy spends: all cash, or as the setting of the same name says."""
    quote_amount: float | None = None
    """Quote currency that a buy spends, its fee included; only with that sizing."""
    base_amount: float | None = None
    """Coins that a buy gets; only with that sizing."""
    equity_share: float | None = None
    """Part of the account's worth that a buy spends; only with that sizing."""
    risk_per_trade: float | None = None
    """Part of the account's worth that is lost if the first stop is hit; only with that sizing."""
    volatility_target: float | None = None
    """Volatility a year that a position brings into the account; only with that sizing."""
    volatility_bars: int = 30
    """Closes before the entry whose changes tell the volatility."""
    exits: ExitRules = NO_EXITS
    """Stops and targets."""
    cool_down_bars: int = 0
    """Bars after an exit whose signals enter nothing."""
    reentry: Reentry = "new_signal"
    """Which BUY may enter after an exit: one of a run that has not entered yet, or any."""
    steps: MarketSteps = IDEAL_MARKET
    """Price step, amount step and minimums of the market."""

    def __post_init__(self) -> None:
        """Check every rule.

        Raises:
            UsageError: one cannot be used; the text names it, what is allowed and what was found.
        """
        _require(self.cash > 0, "cash", "above 0", self.cash)
        for name in ("fee_rate", "maker_fee_rate"):
            rate = getattr(self, name) or 0.0
            _require(0 <= rate < 1, name, "0 or more and under 1", rate)
        for name in ("slippage_bps", "spread_bps"):
            value = getattr(self, name)
            _require(0 <= value < 10_000, name, "0 or more and under 10,000", value)
        impact = self.volume_impact
        _require(0 <= impact < 1, "volume_impact", "0 or more and under 1", impact)
        worst = self.slippage + impact
        _require(worst < 1, "slippage, half the spread and volume_impact", "under 1 in all", worst)
        _require_word("fee_coin", self.fee_coin, _FEE_COINS)
        _require_word("sizing", self.sizing, tuple(_SIZINGS))
        _require_word("reentry", self.reentry, _REENTRIES)
        self._check_sizing()
        bars = self.cool_down_bars
        _require(bars >= 0, "cool_down_bars", "0 or more", bars)
        _require(bars <= MOST_BARS, "cool_down_bars", f"at most {MOST_BARS:,}", bars)
        bars = self.volatility_bars
        _require(bars >= 2, "volatility_bars", "2 or more", bars)
        _require(bars <= MOST_BARS, "volatility_bars", f"at most {MOST_BARS:,}", bars)

    def _check_sizing(self) -> None:
        for name, most in _SIZINGS.items():
            if name == "all_in":
                continue
            value = getattr(self, name)
            if name != self.sizing:
                _require(value is None, name, f"left out with sizing {self.sizing}", "one")
                continue
            allowed = "above 0" if math.isinf(most) else f"above 0 and at most {most:g}"
            if value is None:
                raise UsageError(
                    f"sizing {name} needs a number {allowed}: write {name}=NUMBER, or in a file "
                    f"{name}: NUMBER below it"
                )
            _require(0 < value <= most, name, f"{allowed} with sizing {name}", value)
        if self.sizing == "risk_per_trade" and not self.exits.has_stop:
            raise UsageError(
                "sizing risk_per_trade needs a stop that limits the loss; set exits.stop_loss or "
                "exits.trailing_stop"
            )

    @property
    def slippage(self) -> float:
        """Return slippage and half the spread, as a part of the price."""
        return self.slippage_bps / 10_000 + self.spread_bps / 20_000

    @property
    def target_fee_rate(self) -> float:
        """Return the fee rate of a limit order."""
        return self.fee_rate if self.maker_fee_rate is None else self.maker_fee_rate


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
