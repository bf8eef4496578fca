"""CCXT's class of a real exchange, with all addresses redirected to a simulator."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from ccxt_addresses import redirect


@contextmanager
def redirect_binance(url: str, network: str = "api") -> Generator[None]:
    """Let CCXT's Binance classes, REST and streams, call a simulator while the block lasts.

    Args:
        url: Address of the simulator.
        network: Addresses that are replaced: `api`, those of the exchange, or `test`, those of
            its test network.
    """
    import ccxt.async_support as rest
    import ccxt.pro as pro

    with pytest.MonkeyPatch.context() as patch:
        for base in (rest.binance, pro.binance):
            patch.setattr(base, "describe", _make_redirected(base.describe, url, network))
        yield


def _make_redirected(describe: Any, url: str, network: str) -> Any:
    def redirected(self: Any) -> dict[str, Any]:
        described: dict[str, Any] = describe(self)
        redirect(described["urls"][network], url)
        return described

    return redirected


class SteppedTime:
    """The computer's time, scaled by a factor, whose time of day a test sets."""

    def __init__(self, epoch_ms: int, speed: float, seconds: Any) -> None:
        """Begin at `epoch_ms`; `seconds` returns real monotonic seconds."""
        self._real = seconds
        self._began = seconds()
        self._epoch_ms = epoch_ms
        self._speed = speed
        self.step_ms = 0
        """Milliseconds by which the time of day was set ahead."""

    def get_monotonic_seconds(self) -> float:
        """Return seconds that never run back."""
        return (self._real() - self._began) * self._speed

    def get_epoch_ms(self) -> int:
        """Return the time of day, epoch milliseconds."""
        return self._epoch_ms + round(self.get_monotonic_seconds() * 1_000) + self.step_ms

    async def sleep(self, seconds: float) -> None:
        """Wait that long on this clock."""
        import asyncio

        await asyncio.sleep(seconds / self._speed)
