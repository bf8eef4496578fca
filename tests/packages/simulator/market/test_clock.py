"""The clock that waits for its driver, and the clock of clients."""

import time

from onetape.simulator.market.clock import PacedClock, get_clock_kind


def test_a_clock_never_passes_its_allowed_time() -> None:
    clock = PacedClock(1_000, speed=1e9)
    clock.allow_until(5_000)
    time.sleep(0.01)
    assert clock.now_ms() == 5_000


def test_a_clock_does_not_make_up_for_time_in_which_it_stood_still() -> None:
    clock = PacedClock(0, speed=1.0)
    clock.allow_until(1)
    time.sleep(0.05)
    began = time.monotonic()
    clock.allow_until(10_000)
    now_ms = clock.now_ms()
    assert now_ms < 40 + (time.monotonic() - began) * 1_000


def test_an_earlier_limit_changes_nothing() -> None:
    clock = PacedClock(1_000, speed=1e9)
    clock.allow_until(5_000)
    clock.allow_until(2_000)
    time.sleep(0.01)
    assert clock.now_ms() == 5_000


def test_clients_see_an_accelerated_clock() -> None:
    assert get_clock_kind(PacedClock(0, speed=60.0)) == "accelerated"
