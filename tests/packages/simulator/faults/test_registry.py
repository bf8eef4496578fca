"""Which fault fires when: nth call, count, chance, market time and real time."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.clock import SteppedClock
from onetape.simulator.faults.model import Fault
from onetape.simulator.faults.registry import Call, Faults

#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
KLINES = Call("rest", "GET /api/v3/klines", method="GET", path="/api/v3/klines", symbol="BTCUSDT")


def make_registry(*faults: Fault, seed: int = 1) -> tuple[Faults, SteppedClock]:
    clock = SteppedClock(MARCH_MS)
    registry = Faults(faults, seed=seed)
    registry.start(clock, 7)
    return registry, clock


def list_firing_calls(registry: Faults, calls: int, call: Call = KLINES) -> list[int]:
    """Return the numbers of the calls, from 1, at which a fault fired."""
    return [number for number in range(1, calls + 1) if registry.fire(call)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("drip"), [1, 2, 3, 4, 5]),
        (Fault("drip", nth=3), [3]),
        (Fault("drip", nth=2, count=2), [2, 3]),
        (Fault("drip", count=2), [1, 2]),
        (Fault("drip", path="/api/v3/*", method="GET"), [1, 2, 3, 4, 5]),
        (Fault("drip", symbol="BTC/USDT", count=1), [1]),
        (Fault("drip", symbol="ETH/USDT"), []),
        (Fault("drip", path="/api/v3/time"), []),
        (Fault("drip", method="POST"), []),
        (Fault("ws_close"), []),
    ],
)
def test_a_fault_fires_at_the_calls_that_it_names(fault: Fault, expected: list[int]) -> None:
    registry, _ = make_registry(fault)
    assert list_firing_calls(registry, 5) == expected


def test_a_fault_begins_and_ends_in_its_real_time() -> None:
    began = time.monotonic()
    registry, _ = make_registry(Fault("drip", wall_from="20ms"), Fault("drip", wall_for="20ms"))
    numbers: set[int] = set()
    while numbers != {1} and time.monotonic() < began + 20:
        numbers = {firing.number for firing in registry.fire(KLINES)}
    assert numbers == {1}
    assert time.monotonic() >= began + 0.02


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("drip", market_from="+2m"), [2, 3, 4, 5]),
        (Fault("drip", market_from="+2m", market_for="90s"), [2, 3]),
        (Fault("drip", market_to="+2m"), [0, 1]),
        (Fault("drip", market_from="2024-03-01T00:04"), [4, 5]),
        (Fault("drip", market_from="2024-03-01T01:04+01:00"), [4, 5]),
    ],
)
def test_a_fault_holds_in_its_market_time(fault: Fault, expected: list[int]) -> None:
    registry, clock = make_registry(fault)
    seen: list[int] = []
    for minute in range(6):
        clock.advance_to(MARCH_MS + minute * 60_000)
        seen += [minute] if registry.fire(KLINES) else []
    assert seen == expected


def test_of_several_faults_that_end_a_call_only_the_first_fires_and_counts() -> None:
    registry, _ = make_registry(Fault("drip", nth=1), Fault("reset", nth=1))
    kinds = [
        [firing.fault.kind for firing in registry.fire(KLINES, {"drip", "reset"})] for _ in range(3)
    ]
    assert kinds == [["drip"], ["reset"], []]


def test_offsets_of_a_fault_added_later_count_from_then() -> None:
    registry, clock = make_registry()
    clock.advance_to(MARCH_MS + 600_000)
    registry.add(kind="drip", market_from="+1m")
    assert list_firing_calls(registry, 1) == []
    clock.advance_to(MARCH_MS + 660_000)
    assert list_firing_calls(registry, 1) == [1]


@given(st.integers(), st.integers(0, 30))
def test_chance_is_drawn_from_the_seed_and_the_call_alone(seed: int, others: int) -> None:
    first, _ = make_registry(Fault("drip", probability=0.5), seed=seed)
    second, _ = make_registry(Fault("drip", probability=0.5), seed=seed)
    other = Call("rest", "GET /other", method="POST", path="/other")
    alone = list_firing_calls(first, 20)
    for _ in range(others):
        second.fire(Call("event", other.on))
    assert list_firing_calls(second, 20) == alone


def test_the_share_of_calls_that_fire_is_about_the_probability() -> None:
    registry, _ = make_registry(Fault("drip", probability=0.25))
    assert 200 < len(list_firing_calls(registry, 1_000)) < 300


def test_the_log_names_fault_call_market_time_and_seed() -> None:
    registry, clock = make_registry(Fault("drip", name="slow line", nth=2), seed=9)
    list_firing_calls(registry, 1)
    clock.advance_to(MARCH_MS + 1_000)
    list_firing_calls(registry, 1)
    (fired,) = registry.log
    assert fired.make_document() == {
        "number": 1,
        "fault": 1,
        "kind": "drip",
        "name": "slow line",
        "on": "GET /api/v3/klines",
        "symbol": "BTCUSDT",
        "call": 2,
        "market_ms": MARCH_MS + 1_000,
        "seed": 9,
    }
    assert fired.format_line() == (
        "fault 1 (slow line): drip on GET /api/v3/klines, call 2, "
        "market time 2024-03-01T00:00:01.000+00:00, seed 9"
    )


def test_a_fault_can_be_removed() -> None:
    registry, _ = make_registry(Fault("drip"), Fault("reset"))
    assert registry.remove(1) is True
    assert registry.remove(1) is False
    assert [one["number"] for one in registry.list_faults()] == [2]
    assert registry.clear() == 1
    assert list_firing_calls(registry, 3) == []


def test_faults_are_added_and_removed_from_many_threads() -> None:
    registry, _ = make_registry()

    def work() -> None:
        for _ in range(200):
            number = registry.add(kind="drip")
            registry.fire(KLINES)
            registry.remove(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.list_faults() == []
    numbers = [fired.number for fired in registry.log]
    assert numbers == list(range(1, len(numbers) + 1))
