"""Text on the costs of a backtest, and on its returns with and without costs."""

from onetape.engine import AccountConfig


def describe_costs(rules: AccountConfig) -> str:
    """Return the costs of an account as text, such as `fee 0.100%, slippage 2 bps`."""
    parts = {
        "fee": f"{rules.fee_rate:.3%}" if rules.fee_rate else "",
        "fee of targets": ""
        if rules.target_fee_rate == rules.fee_rate
        else f"{rules.target_fee_rate:.3%}",
        "slippage": f"{rules.slippage_bps:g} bps" if rules.slippage_bps else "",
        "spread": f"{rules.spread_bps:g} bps" if rules.spread_bps else "",
        "volume impact": f"{rules.volume_impact:.3%}" if rules.volume_impact else "",
    }
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text)


def format_returns(total_return: float, without_costs: float, costs: str) -> str:
    """Return the returns with and without costs as text.

    Args:
        total_return: Return of the run as a ratio.
        without_costs: Return of the same run without costs, as a ratio.
        costs: Text of `describe_costs`.
    """
    return f"{total_return:+.2%} after costs ({costs}), {without_costs:+.2%} without costs"
