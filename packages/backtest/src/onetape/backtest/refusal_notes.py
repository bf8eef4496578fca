"""Notes of a backtest on refused orders: their number, cause and remedy."""

from collections import Counter
from collections.abc import Sequence

from onetape.core.message_text import format_count
from onetape.engine import OrderRefusalKind, SimulationResult


def describe_refusals(results: Sequence[SimulationResult], slots: int = 1) -> list[str]:
    """Return the number of refused orders, the most frequent reason and a remedy, or nothing.

    Args:
        results: Results of each symbol of the account.
        slots: Maximum number of open positions.
    """
    refused = [one for result in results for _, one in result.refused]
    if not refused:
        return []
    kinds: Counter[OrderRefusalKind] = Counter(one.kind for one in refused)
    kind, count = kinds.most_common(1)[0]
    example = next(one.reason for one in refused if one.kind == kind)
    orders = format_count(len(refused), "order")
    like = ", such as" if len(refused) > 1 else ""
    if count < len(refused):
        like = f", most often ({count:,}) such as"
    remedy = _suggest_remedy(kind, results[0], slots)
    return [f"{orders} refused by account or market, not filled{like}: {example}; {remedy}"]


def _suggest_remedy(kind: OrderRefusalKind, result: SimulationResult, slots: int) -> str:
    """Return what the user may change so that refused orders fill."""
    sizing = result.rules.sizing
    if kind == "volatility_unknown":
        return "begin later, or store more candles before the range"
    if kind in ("cash_below_order", "cash_below_cost"):
        return "more --cash or a smaller --sizing would fill them"
    if kind == "volume_limit_too_small":
        return "a larger --max-volume-share would fill them, if the candles have a volume"
    if kind in ("sell_amount_too_small", "sell_value_too_small"):
        return (
            "a larger --sizing leaves less that cannot be sold; --trading-rules none has no minimum"
        )
    if sizing == "all_in" and slots > 1:
        return (
            "all in, an entry leaves no cash for another symbol: give each its part, as with "
            f"--sizing equity_share={1 / slots:.2g}"
        )
    more = "more --cash" if sizing == "all_in" else "more --cash or a larger --sizing"
    return f"{more} would fill them; --trading-rules none has no minimum"
