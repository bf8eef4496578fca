"""An account without costs: its rules, and its equity where a second run is not needed for it."""

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import FloatArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.fills import FillModel
from onetape.engine.portfolio import PortfolioResult
from onetape.engine.simulation_result import SimulationResult


def remove_costs(rules: AccountConfig) -> AccountConfig:
    """Return the rules without fees, slippage, spread and volume impact."""
    return replace(
        rules,
        fee_rate=0.0,
        maker_fee_rate=None if rules.maker_fee_rate is None else 0.0,
        slippage_bps=0.0,
        spread_bps=0.0,
        volume_impact=0.0,
    )


def compute_cost_free_equity(portfolio: PortfolioResult) -> float | None:
    """Return the final equity that the fills of a run lead to without costs, quote currency.

    None where the run without costs may have other fills: with price or amount steps, minimums of
    orders, a dependence on the volume, exits net of fees, entry guards (which depend on profits),
    refused orders, limit entries, or sizes that follow the equity.
    The result may differ from that of a second run by the rounding of floats.
    """
    rules, parts = portfolio.rules, portfolio.parts
    is_plain = all(
        FillModel.from_rules(part.rules).is_plain
        and not part.fill_log.refused
        and not part.fill_log.has_limits
        for part in parts
    )
    if not is_plain or rules.exits.is_net_of_fees or rules.entry_guards:
        return None
    if rules.sizing == "all_in" and len(parts) == 1:
        bought, sold = _collect_prices(parts[0])
        return rules.cash * float(np.prod(sold / bought))
    if rules.sizing == "quote_amount":
        size = rules.quote_amount or 0.0
        return rules.cash + size * sum(
            float((sold / bought - 1.0).sum()) for bought, sold in map(_collect_prices, parts)
        )
    if rules.sizing == "base_amount":
        size = rules.base_amount or 0.0
        return rules.cash + size * sum(
            float((sold - bought).sum()) for bought, sold in map(_collect_prices, parts)
        )
    return None


def _collect_prices(result: SimulationResult) -> tuple[FloatArray, FloatArray]:
    """Return the prices before slippage of each buy and of its sell; shapes (m,).

    The sell of an open position is at the last close.
    """
    prices = result.fill_log.get_price_column()
    bought, sold = prices[0::2], prices[1::2]
    if len(sold) < len(bought):
        sold = np.append(sold, result.candles.close[-1])
    return bought, sold
