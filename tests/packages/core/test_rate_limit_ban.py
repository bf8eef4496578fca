"""Start and remaining time of a rate limit ban, on a clock that may be set."""

import pytest

from onetape.core.rate_limit_ban import RateLimitBan

#: Of two minutes, in milliseconds.
BAN = RateLimitBan(1_120_000, "HTTP 418", 1_000_000)


@pytest.mark.parametrize(
    ("now_ms", "left_ms"),
    [
        (1_000_000, 120_000),
        (1_060_000, 60_000),
        (1_120_000, 0),
        (997_000, 120_000),
        (900_000, 0),
    ],
    ids=["begins", "half", "over", "clocks differ a little", "began later than now"],
)
def test_a_ban_that_begins_in_the_future_is_ignored_and_no_ban_becomes_longer(
    now_ms: int, left_ms: int
) -> None:
    assert BAN.compute_left_ms(now_ms) == left_ms


def test_a_ban_without_a_beginning_goes_on_until_its_end() -> None:
    assert RateLimitBan(5_000, "HTTP 418").compute_left_ms(1_000) == 4_000


@pytest.mark.parametrize(
    ("newer", "counts"),
    [
        (RateLimitBan(1_200_000, "HTTP 418", 1_080_000), True),
        (RateLimitBan(1_110_000, "HTTP 429", 1_100_000), False),
        (RateLimitBan(500_000, "HTTP 418", 400_000), True),
        (RateLimitBan(500_000, "HTTP 418"), False),
    ],
    ids=["ends later", "ends sooner", "the clock was set back", "no beginning"],
)
def test_of_two_bans_the_later_end_counts_unless_its_clock_was_ahead(
    newer: RateLimitBan, counts: bool
) -> None:
    assert newer.replaces(BAN) is counts
    assert newer.replaces(None)
