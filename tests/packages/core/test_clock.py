"""Clocks of market time: system, scaled and stepped."""

import time

import pytest

from onetape.core.clock import ScaledClock, SteppedClock, SystemClock, format_utc


def test_the_system_clock_shows_the_computers_time() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_a_scaled_clock_starts_at_its_anchor_and_runs_at_its_speed() -> None:
    began = time.monotonic()
    clock = ScaledClock(1_000_000, speed=3_600)
    first = clock.now_ms()
    while clock.now_ms() < first + 36_000:
        pass
    passed = time.monotonic() - began
    assert first >= 1_000_000
    assert clock.now_ms() <= 1_000_000 + int((time.monotonic() - began) * 3_600_000)
    assert passed >= 0.01


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_clock_that_does_not_run_forward_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be above zero"):
        ScaledClock(0, speed)


def test_an_hour_of_market_time_takes_a_second_at_speed_3600() -> None:
    assert ScaledClock(0, 3_600).wall_seconds(3_600_000) == 1.0
    assert SystemClock().wall_seconds(1_500) == 1.5


def test_a_stepped_clock_stands_still_and_never_runs_back() -> None:
    clock = SteppedClock(5_000)
    clock.advance_to(9_000)
    clock.advance_to(7_000)
    assert clock.now_ms() == 9_000
    assert clock.wall_seconds(3_600_000) == 0.0


def test_a_time_is_formatted_in_utc() -> None:
    assert format_utc(1_706_709_600) == "2024-01-31 14:00"
