"""Causes of different exit prices in docs/freqtrade.md: named only where prices prove them."""

import pytest

from freqtrade_exit_prices import Exit, Settings, price_cause

SETTINGS = Settings({0: 0.04, 60: 0.02}, 0.032, 0.084, 0.001)
TARGET = 100 * 1.02 * SETTINGS.break_even
AT_TARGET = Exit(
    entry=100.0,
    minutes=60,
    open=102.5,
    high=103.0,
    low=100.5,
    theirs=TARGET,
    their_reason="roi",
    their_stop=90.0,
    their_highest=103.0,
    ours=102.5,
    our_kind="target",
)
TRAILING = AT_TARGET._replace(
    open=102.0,
    high=110.0,
    low=101.0,
    theirs=110 * 0.95,
    their_reason="trailing_stop_loss",
    their_stop=110 * 0.95,
    their_highest=110.0,
    ours=101.0,
    our_kind="trailing_stop",
)
ARMED = TRAILING._replace(
    minutes=0,
    theirs=100 * (1 + 0.084 - 0.032),
    ours=100 * 1.084 * SETTINGS.break_even * (1 - 0.032),
)
STOPPED = AT_TARGET._replace(
    open=89.0,
    high=91.0,
    low=88.0,
    theirs=90.0,
    their_reason="stop_loss",
    ours=89.0,
    our_kind="stop_loss",
)


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (AT_TARGET, "open beyond the target"),
        (AT_TARGET._replace(ours=TARGET * (1 + 1e-6)), ""),
        # Another row of the table holds, the open is not beyond the target, or not our price.
        (AT_TARGET._replace(minutes=59), "unexplained (roi and target)"),
        (AT_TARGET._replace(open=102.2, ours=102.2), "unexplained (roi and target)"),
        (AT_TARGET._replace(ours=102.6), "unexplained (roi and target)"),
        (
            AT_TARGET._replace(ours=100.5, our_kind="trailing_stop"),
            "target and trailing stop in one candle",
        ),
        (
            AT_TARGET._replace(ours=100.4, our_kind="trailing_stop"),
            "unexplained (roi and trailing_stop)",
        ),
        (TRAILING, "trailing stop moved by the high of its candle"),
        # The highest price was an earlier one: the stop was known at the open.
        (
            TRAILING._replace(their_highest=111.0),
            "unexplained (trailing_stop_loss and trailing_stop)",
        ),
        (TRAILING._replace(ours=100.0), "unexplained (trailing_stop_loss and trailing_stop)"),
        (ARMED, "trailing stop at its offset in the candle of the entry"),
        (ARMED._replace(minutes=60), "unexplained (trailing_stop_loss and trailing_stop)"),
        (
            ARMED._replace(ours=ARMED.ours * 0.9999),
            "unexplained (trailing_stop_loss and trailing_stop)",
        ),
        (STOPPED, "open beyond the stop"),
        (STOPPED._replace(ours=88.5), "unexplained (stop_loss and stop_loss)"),
        (STOPPED._replace(open=90.5, ours=90.5), "unexplained (stop_loss and stop_loss)"),
    ],
)
def test_a_cause_is_named_only_where_both_prices_follow_from_it(one: Exit, cause: str):
    assert price_cause(one, SETTINGS) == cause
