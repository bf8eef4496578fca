"""Fixtures of the trader's tests; tests/support has the market and the session."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import ccxt.async_support
import pytest

from bounded_run import run_bounded
from session_harness import OFTEN

T = TypeVar("T")
#: Only a test that hangs takes so long, also on a busy machine.
MAX_WAIT_SECONDS = 180.0


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return a function that runs a coroutine in a separate loop, for a bounded time.

    Whatever asyncio would only log (an exception that was not fetched) fails the test.
    """

    return lambda work: run_bounded(work, MAX_WAIT_SECONDS)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Return where a database may be made."""
    return tmp_path / "data" / "simulator.db"


@pytest.fixture
def strategy_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a strategy file and returns the name to load it by."""

    def write(source: str = OFTEN, name: str = "often") -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten pauses that only matter to an exchange far away."""
    # CCXT sleeps in each close for the sake of TLS, which is not used here.
    monkeypatch.setattr(ccxt.async_support.Exchange, "timeout_on_exit", 10)
    monkeypatch.setattr("onetape.websocket.redial_pause.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("trader.gap_backfiller.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.gap_backfiller.LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("trader.gap_backfiller.LONGEST_FAILED_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("trader.rest_comparison.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.rest_comparison.LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("trader.decision_loop.LOOP_SECONDS", 0.1)
    # Most tests of an outage are about what happens once the stream is back.
    monkeypatch.setattr("trader.rest_price.AFTER_SECONDS", 3_600.0)
