"""The rules in words, the same in every program that states them."""

from onetape.engine.exits import ExitRules
from onetape.engine.rules import Rules


def stated_rules(rules: Rules, quote: str, base: str) -> dict[str, str]:
    """Return every rule that applies, by label: fills, account, exits.

    Args:
        rules: Of the run.
        quote: Name of the quote currency.
        base: Name of the base currency.
    """
    fee_coin = "quote currency" if rules.fee_coin == "quote" else "the received coin"
    fee = f"fee {rules.fee_rate:.3%} in {fee_coin}"
    if rules.exits.has_target and rules.target_fee_rate != rules.fee_rate:
        fee += f", {rules.target_fee_rate:.3%} for targets"
    stated = {
        "fills": f"signal on the close, filled at the next open, {_slippage(rules)}",
        "account": f"{rules.cash:,.2f} {quote}, {_sizing(rules, quote, base)}, {fee}",
    }
    exits = _exits(rules.exits)
    if rules.cool_down_bars:
        exits.append(f"no entry in the {rules.cool_down_bars:,} candles after an exit")
    if exits:
        stated["exits"] = "; ".join(exits)
    return stated


def _slippage(rules: Rules) -> str:
    parts = [f"{rules.slippage_bps:g} bps worse"]
    if rules.spread_bps:
        parts.append(f"half of a spread of {rules.spread_bps:g} bps")
    if rules.volume_impact:
        parts.append(
            f"{rules.volume_impact:.2%} times the order's share of the last candle's volume"
        )
    return " and ".join(parts)


def _sizing(rules: Rules, quote: str, base: str) -> str:
    size = getattr(rules, rules.sizing, None) or 0.0
    return {
        "all_in": "all in",
        "quote_amount": f"{size:g} {quote} an entry",
        "base_amount": f"{size:g} {base} an entry",
        "equity_share": f"{size:.4g} of the account's worth an entry",
        "risk_per_trade": f"{size:.2%} of the account's worth at risk down to the first stop",
        "volatility_target": (
            f"{size:.2%} volatility a year an entry, measured on {rules.volatility_bars:,} candles"
        ),
    }[rules.sizing]


def _exits(exits: ExitRules) -> list[str]:
    stated: list[str] = []
    if exits.stop_loss is not None:
        stated.append(f"stop loss {exits.stop_loss:.2%} under the entry's open")
    if exits.trailing_stop is not None:
        stated.append(f"trailing stop {exits.trailing_stop:.2%} under the highest candle before")
    if exits.take_profit is not None:
        stated.append(f"target {exits.take_profit:.2%} over the entry's open")
    if exits.target_table:
        rows = ", ".join(f"{ratio:.2%} from candle {age}" for age, ratio in exits.target_table)
        stated.append(f"target {rows}")
    if exits.time_stop_bars is not None:
        stated.append(f"sold {exits.time_stop_bars:,} candles after the entry")
    if exits.has_stop and exits.has_target:
        stated.append("a candle that reaches stop and target is taken as stopped")
    return stated
