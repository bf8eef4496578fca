"""Causes of different exit prices in docs/freqtrade.md: named only where prices prove them."""

import pytest

from freqtrade_exit_prices import Exit, Settings, find_price_cause

SETTINGS = Settings({0: 0.04, 60: 0.02}, 0.032, 0.084, 0.001)
TARGET = 100 * 1.02 * SETTINGS.break_even
AT_TARGET = Exit(
    entry=100.0,
    minutes=60,
    open=102.5,
    high=103.0,
    low=100.5,
    freqtrade_price=TARGET,
    freqtrade_reason="roi",
    freqtrade_stop=90.0,
    freqtrade_highest=103.0,
    backtester_price=102.5,
    backtester_kind="target",
)
TRAILING = AT_TARGET._replace(
    open=102.0,
    high=110.0,
    low=101.0,
    freqtrade_price=110 * 0.95,
    freqtrade_reason="trailing_stop_loss",
    freqtrade_stop=110 * 0.95,
    freqtrade_highest=110.0,
    backtester_price=101.0,
    backtester_kind="trailing_stop",
)
ARMED = TRAILING._replace(
    minutes=0,
    freqtrade_price=100 * (1 + 0.084 - 0.032),
    backtester_price=100 * 1.084 * SETTINGS.break_even * (1 - 0.032),
)
STOPPED = AT_TARGET._replace(
    open=89.0,
    high=91.0,
    low=88.0,
    freqtrade_price=90.0,
    freqtrade_reason="stop_loss",
    backtester_price=89.0,
    backtester_kind="stop_loss",
)


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (AT_TARGET, "open beyond the target"),
        (AT_TARGET._replace(backtester_price=TARGET * (1 + 1e-6)), ""),
        # Another row of the table holds, the open is not beyond the target, or not our price.
        (AT_TARGET._replace(minutes=59), "unexplained (roi and target)"),
        (AT_TARGET._replace(open=102.2, backtester_price=102.2), "unexplained (roi and target)"),
        (AT_TARGET._replace(backtester_price=102.6), "unexplained (roi and target)"),
        (
            AT_TARGET._replace(backtester_price=100.5, backtester_kind="trailing_stop"),
            "target and trailing stop in one candle",
        ),
        (
            AT_TARGET._replace(backtester_price=100.4, backtester_kind="trailing_stop"),
            "unexplained (roi and trailing_stop)",
        ),
        (TRAILING, "trailing stop moved by the high of its candle"),
        # The highest price was an earlier one: the stop was known at the open.
        (
            TRAILING._replace(freqtrade_highest=111.0),
            "unexplained (trailing_stop_loss and trailing_stop)",
        ),
        (
            TRAILING._replace(backtester_price=100.0),
            "unexplained (trailing_stop_loss and trailing_stop)",
        ),
        (ARMED, "trailing stop at its offset in the candle of the entry"),
        (ARMED._replace(minutes=60), "unexplained (trailing_stop_loss and trailing_stop)"),
        (
            ARMED._replace(backtester_price=ARMED.backtester_price * 0.9999),
            "unexplained (trailing_stop_loss and trailing_stop)",
        ),
        (STOPPED, "open beyond the stop"),
        (STOPPED._replace(backtester_price=88.5), "unexplained (stop_loss and stop_loss)"),
        (
            STOPPED._replace(open=90.5, backtester_price=90.5),
            "unexplained (stop_loss and stop_loss)",
        ),
    ],
)
def test_a_cause_is_named_only_where_both_prices_follow_from_it(one: Exit, cause: str):
    assert find_price_cause(one, SETTINGS) == cause
