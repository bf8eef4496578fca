"""Checks of one live order against the account's limits, before the order is sent.

A check returns a verdict for each limit, by the name of the limit: `ok`, or the reason for the
refusal as a text. An entry fails a check whose value is unknown. An exit is refused only if it
would sell more than the position has, or coins that another order is selling.
"""

from decimal import Decimal

from msgspec import Struct

from onetape.execution.risk import OK
from onetape.execution.risk_limits import RiskLimits
from onetape.execution.risk_state import RiskState


class EntryTerms(Struct, frozen=True):
    """Cost and amounts of a buy, computed at the moment of the check."""

    cost: Decimal
    """Cost of the entry, fees included, quote currency."""
    min_cost: Decimal
    """Minimum value of an order, quote currency, which the later sale must reach too."""
    stop_cost: Decimal | None
    """Proceeds of the protective stop at its limit price; None: the position has no stop."""
    free: Decimal
    """Quote currency that is free, less all reservations, those of other processes included."""
    position: Decimal
    """Value of the symbol's position at the present price, quote currency, open orders included."""
    positions: int
    """Number of the account's positions in other symbols, those being opened included."""


class MarketView(Struct, frozen=True):
    """Prices of a market and the age of its data; None: unknown."""

    bid: Decimal | None
    """Highest price of an order to buy, quote currency."""
    ask: Decimal | None
    """Lowest price of an order to sell, quote currency."""
    quote_age_seconds: float | None
    """Age of bid and ask, wall seconds."""
    data_age_seconds: float | None
    """Age of the newest market data of the symbol, wall seconds."""
    clock_skew_seconds: float | None
    """Absolute difference of the exchange's time and the trader's, seconds."""


class ExitTerms(Struct, frozen=True):
    """Amounts of a sell, base currency."""

    amount: Decimal
    """Amount that the sell should have, base currency."""
    held: Decimal
    """Amount of the position, fees in coin deducted, base currency."""
    free: Decimal | None
    """Free amount at the exchange, of all coins of the account; None: unknown."""
    selling: Decimal
    """Amount that open or unknown orders may still sell of this position, base currency."""


def limit_entry_cost(limits: RiskLimits, terms: EntryTerms) -> Decimal:
    """Return the allowed cost of an entry, quote currency, fees included.

    It is the requested cost, or less if limits or the free money allow less; at least 0.

    Args:
        limits: Limits of the account.
        terms: Terms of the entry with the requested cost.
    """
    caps = [terms.cost, terms.free]
    if limits.max_order is not None:
        caps.append(limits.max_order)
    if limits.max_position is not None:
        caps.append(limits.max_position - terms.position)
    return max(min(caps), Decimal(0))


def check_entry_limits(
    limits: RiskLimits, state: RiskState | None, terms: EntryTerms, market: MarketView
) -> dict[str, str]:
    """Return the verdict of each limit of a buy, by the name of the limit.

    Args:
        limits: Limits of the account.
        state: Losses of the account; None: its equity is not known.
        terms: Terms of the entry; the cost is the one that `limit_entry_cost` has returned.
        market: Current prices of the market and their age.
    """
    return {
        "losses": "the equity is not known" if state is None else state.reason or OK,
        "order size": _check_size(limits, terms),
        "positions": (
            OK if terms.positions < limits.max_positions
            else f"{terms.positions} positions are open or being opened, "
            f"allowed {limits.max_positions}"
        ),
        "stop size": _check_stop_size(terms),
        "spread": _check_spread(limits, market),
        "data age": _check_age(
            "market data", market.data_age_seconds, limits.max_data_age_seconds
        ),
        "clock": _check_clock(limits, market),
    }  # fmt: skip


def check_exit_limits(terms: ExitTerms) -> dict[str, str]:
    """Return each limit of a sell with its verdict.

    Args:
        terms: Amounts of the sell; the amount is the one that `limit_sell_amount` has returned.
    """
    left = terms.held - terms.selling
    free = terms.free
    return {
        "amount": OK if terms.amount > 0 else "there is nothing to sell",
        "position": (
            OK
            if terms.amount <= left
            else f"only {_format_decimal(left)} of the position is left"
        ),
        "balance": (
            OK if free is None or terms.amount <= free else f"only {_format_decimal(free)} is free"
        ),
    }  # fmt: skip


def limit_sell_amount(terms: ExitTerms) -> Decimal:
    """Return the amount that may be sold, base currency: as requested or less, at least 0."""
    caps = [terms.amount, terms.held - terms.selling]
    if terms.free is not None:
        caps.append(terms.free)
    return max(min(caps), Decimal(0))


def _check_size(limits: RiskLimits, terms: EntryTerms) -> str:
    if terms.cost > limit_entry_cost(limits, terms):
        return f"{_format_decimal(terms.cost)} is more than limits and free money allow"
    if terms.cost <= 0 or terms.cost < terms.min_cost:
        minimum = _format_decimal(terms.min_cost)
        return f"{_format_decimal(terms.cost)} is below the market's minimum of {minimum}"
    return OK


def _check_stop_size(terms: EntryTerms) -> str:
    if terms.stop_cost is None or terms.stop_cost >= terms.min_cost:
        return OK
    return (
        f"its stop would sell for {_format_decimal(terms.stop_cost)}, "
        f"under the market's minimum of {_format_decimal(terms.min_cost)}"
    )


def _check_spread(limits: RiskLimits, market: MarketView) -> str:
    bid, ask = market.bid, market.ask
    if bid is None or ask is None or not 0 < bid <= ask:
        return "bid and ask are not known"
    stale = _check_age("bid and ask", market.quote_age_seconds, limits.max_quote_age_seconds)
    if stale != OK:
        return stale
    spread = (ask - bid) / ((ask + bid) / 2)
    if spread <= Decimal(str(limits.max_spread)):
        return OK
    return f"spread {spread:.2%}, allowed {limits.max_spread:.2%}"


def _check_age(subject: str, age: float | None, allowed: float) -> str:
    if age is None:
        return f"the age of {subject} is not known"
    # A negative age means that a clock has jumped; comparisons with NaN are false.
    return OK if -1 <= age <= allowed else f"{subject} {age:.0f} s old, allowed {allowed:g} s"


def _check_clock(limits: RiskLimits, market: MarketView) -> str:
    skew, allowed = market.clock_skew_seconds, limits.max_clock_skew_seconds
    if skew is None:
        return "the exchange's time is not known"
    return OK if abs(skew) <= allowed else f"clock {skew:+.1f} s off, allowed {allowed:g} s"


def _format_decimal(value: Decimal) -> str:
    return f"{value.normalize():f}"
