"""Checks that stop an entry, and the fewer ones that stop an exit."""

from msgspec.structs import replace

from onetape.execution.risk import OK, RiskContext, check_entry, check_exit, find_obstacle

FINE = RiskContext(
    is_decided_before=False,
    late_reason=None,
    age_seconds=1,
    max_age_seconds=60,
    missing_since=None,
    candles=100,
    lookback=15,
    higher_obstacle=None,
    market_obstacle=None,
    is_stream_up=True,
    open_order=None,
)
#: Each makes an entry unwise and leaves an exit as urgent as it was.
UNWISE = {
    "newest candle": replace(FINE, late_reason="evaluated too late, after a break"),
    "signal age": replace(FINE, age_seconds=3_600),
    "candles": replace(FINE, missing_since=1_709_251_200),
    "stream": replace(FINE, is_stream_up=False),
    "higher timeframes": replace(FINE, higher_obstacle="4h candles missing"),
    "other markets": replace(FINE, market_obstacle="BTC/USDT 1h candles missing"),
    "open order": replace(FINE, open_order="buy"),
}


def test_checks_for_entries_alone_do_not_stop_an_exit() -> None:
    for name, context in UNWISE.items():
        failed = {check for check, verdict in check_entry(context).items() if verdict != OK}
        assert failed == {name}
        assert find_obstacle(check_exit(context)) is None


def test_an_exit_waits_for_the_exit_that_is_open_and_for_the_lookback_after_a_gap() -> None:
    assert find_obstacle(check_exit(replace(FINE, open_order="sell"))) == "an exit order is open"
    short = replace(FINE, missing_since=1_709_251_200, candles=5)
    assert find_obstacle(check_exit(short)) == "5 of 15 candles of the lookback since a gap"


def test_no_candle_leads_to_two_orders() -> None:
    again = replace(FINE, is_decided_before=True)
    for verdicts in (check_entry(again), check_exit(again)):
        assert find_obstacle(verdicts) == "decided by an earlier session"
