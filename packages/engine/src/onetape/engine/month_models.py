"""Fill models by month, for a market whose price step differed in some months.

An exchange states only its present price step; older candles can show a finer one.
"""

from bisect import bisect_right

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import Candle
from onetape.core.price_steps import find_finer_step, get_rules_at
from onetape.engine.account_config import AccountConfig
from onetape.engine.fills import FillModel


def make_rules_at(rules: AccountConfig, timestamp: int) -> AccountConfig:
    """Return the rules with the price step that holds for a candle, by its open (epoch seconds)."""
    return (
        replace(rules, trading_rules=get_rules_at(rules.trading_rules, timestamp))
        if rules.trading_rules.months
        else rules
    )


def make_rules_of_candle(rules: AccountConfig, candle: Candle) -> AccountConfig:
    """Return the rules with the price step that one candle shows, for a candle that is forming.

    The candle's step differs from the stated one only if the stated one is wrong or outdated.
    """
    step = find_finer_step(rules.trading_rules.price_step, np.array(candle[1:5]))
    if step == rules.trading_rules.price_step:
        return rules
    return replace(rules, trading_rules=replace(rules.trading_rules, price_step=step))


class MonthModels:
    """The fill models of a market whose price step differs from month to month."""

    def __init__(self, rules: AccountConfig) -> None:
        """Begin without a model.

        Args:
            rules: Trading rules with the months of `core.price_steps.add_month_steps`.
        """
        self._rules = rules
        self._starts = [month.start for month in rules.trading_rules.months or ()]
        self._models: dict[int, FillModel] = {}

    def get_model_at(self, timestamp: int) -> FillModel:
        """Return the fill model of a candle, by the candle's open (epoch seconds)."""
        number = bisect_right(self._starts, timestamp)
        months = self._rules.trading_rules.months or ()
        if not number or timestamp >= months[number - 1].end:
            number = 0
        if number not in self._models:
            self._models[number] = FillModel.from_rules(make_rules_at(self._rules, timestamp))
        return self._models[number]
