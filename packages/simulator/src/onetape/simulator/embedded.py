"""A simulator in a thread of the running program, for tests and `--exchange simulator`.

`embedded_simulator` runs one while its block lasts. `find_or_start_simulator` uses the simulator
that already runs on this computer, or else an embedded one.
"""

import asyncio
import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from onetape.cli.output import print_progress
from onetape.core.errors import ConfigurationError, ExchangeUnreachable
from onetape.simulator.defaults import DEFAULT_SEED, DEFAULT_URL

if TYPE_CHECKING:
    from decimal import Decimal

    from onetape.core.clock import Clock
    from onetape.simulator.faults.model import Fault
    from onetape.simulator.faults.registry import Faults
    from onetape.simulator.recorded.replay import Replay
    from onetape.simulator.server.simulator import Simulator
    from onetape.simulator.trading.account_service import AccountService

#: Time after which a server on loopback counts as one that does not respond, seconds.
PROBE_SECONDS: Final = 2.0

T = TypeVar("T")


class EmbeddedSimulator:
    """A simulator that runs in a thread of this process.

    Each method returns when that thread has done the work.
    """

    def __init__(self, simulator: "Simulator", loop: asyncio.AbstractEventLoop) -> None:
        """Take a simulator that listens, and the event loop of its thread."""
        self._simulator = simulator
        self._loop = loop

    @property
    def url(self) -> str:
        """Address of the simulator, such as `http://127.0.0.1:40123`."""
        return self._simulator.url

    @property
    def clock(self) -> "Clock":
        """The market's clock; move a stepped one by `advance_to_ms` only."""
        return self._simulator.clock

    @property
    def faults(self) -> "Faults":
        """Faults of the simulator; they may be added, removed and read from this thread."""
        return self._simulator.faults

    def run_on_account(self, work: "Callable[[AccountService], T]") -> T:
        """Call a function with the account in the simulator's thread and return its result.

        `simulator.run_on_account(lambda account: account.deposit("BTC", Decimal("0.5")))`
        """

        async def call_work() -> T:
            return work(self._simulator.account)

        return self._call(call_work())

    def advance_to_ms(self, market_ms: int) -> None:
        """Move a stepped clock forward and send the events that became due.

        The call returns when every socket has sent its events. A coroutine that reads these streams
        must make the call through `asyncio.to_thread`, or both would wait for each other.

        Raises:
            TypeError: the clock runs by itself.
            UsageError: the market has no prices at that time.
        """
        self._call(self._simulator.advance_to_ms(market_ms))

    def disconnect(self, refuse_seconds: float = 0.0) -> int:
        """Cut every WebSocket at once and return the number that were open.

        Args:
            refuse_seconds: Wall time for which new ones are reset.
        """
        return self._call(self._simulator.disconnect(refuse_seconds))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Thread(threading.Thread):
    """Runs one simulator until `stop` is called."""

    def __init__(self, simulator: "Simulator") -> None:
        super().__init__(name="onetape-simulator", daemon=True)
        self._simulator = simulator
        self._started_event = threading.Event()
        self._stop_event: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serve; an error of the start is stored for the thread that waits for it."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._started_event.set()

    def wait_until_ready(self) -> EmbeddedSimulator:
        """Wait until the simulator listens; return it.

        Raises:
            ConfigurationError: the address cannot be used.
        """
        self._started_event.wait()
        if self._error is not None:
            self.join()
            raise self._error
        assert self._loop is not None  # noqa: S101 - set before the event
        return EmbeddedSimulator(self._simulator, self._loop)

    def stop(self) -> None:
        """Stop serving and wait until the thread has ended."""
        if self._loop is not None and self._stop_event is not None:
            self._loop.call_soon_threadsafe(self._stop_event.set)
        self.join()
        if self._error is not None:
            raise self._error

    async def _serve(self) -> None:
        stop = asyncio.Event()
        async with self._simulator:
            self._loop, self._stop_event = asyncio.get_running_loop(), stop
            self._started_event.set()
            await stop.wait()


@contextmanager
def embedded_simulator(
    *,
    seed: int = DEFAULT_SEED,
    clock: "Clock | None" = None,
    port: int = 0,
    balance: "Mapping[str, Decimal] | None" = None,
    faults: "Faults | Iterable[Fault]" = (),
    limits: bool = False,
    strict_timestamps: bool = False,
    account_id: int | None = None,
    replay: "Replay | None" = None,
) -> Generator[EmbeddedSimulator]:
    """Run a simulator on 127.0.0.1 in a thread of this process while the block lasts.

    Args:
        seed: Seed of the market.
        clock: Market time (`clock.make_clock`); None is the computer's time.
        port: 0 takes a free one.
        balance: Start balances of the account; None: 10,000 USDT.
        faults: Faults of the simulator; more can be added while it runs.
        limits: Refuse requests beyond Binance's limits.
        strict_timestamps: Refuse old requests (-1021) in a stepped market too.
        account_id: The account's number; None: the default number.
        replay: Recorded candles (`replay.read_replay`) in place of an invented market.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    from onetape.simulator.server.simulator import Simulator
    from onetape.simulator.trading.replies import USER_ID

    simulated = Simulator(
        seed=seed,
        clock=clock,
        port=port,
        balance=balance,
        faults=faults,
        limits=limits,
        strict_timestamps=strict_timestamps,
        account_id=USER_ID if account_id is None else account_id,
        replay=replay,
    )
    thread = _Thread(simulated)
    thread.start()
    simulator = thread.wait_until_ready()
    try:
        yield simulator
    finally:
        thread.stop()


@contextmanager
def find_or_start_simulator(
    url: str | None = None, *, seed: int = DEFAULT_SEED, clock: "Clock | None" = None
) -> Generator[str]:
    """Yield the address of a running simulator, or of one that is started in this process.

    A line in the terminal names the address, because two simulators may have different markets.

    Args:
        url: Address of a running simulator; None tries `DEFAULT_URL` and, where nothing listens
            there, starts an embedded one. A given address is never replaced by another market.
        seed: Random seed of the embedded simulator.
        clock: Clock of the embedded simulator.

    Raises:
        ConfigurationError: something else listens at the address, or it is no http address.
        ExchangeUnreachable: an address was given and nothing listens there.
    """
    running = (url or DEFAULT_URL).rstrip("/")
    if is_running(running):
        print_progress(f"simulator: the running one at {running}")
        yield running
        return
    if url is not None:
        port = urlsplit(url).port or 80
        raise ExchangeUnreachable(
            f"no simulator listens at {url}; start one (uv run simulator --port {port}), "
            "or leave the address out to use one inside this program"
        )
    print_progress(f"simulator: started inside this program; none runs at {DEFAULT_URL}")
    with embedded_simulator(seed=seed, clock=clock) as simulator:
        yield simulator.url


def is_running(url: str) -> bool:
    """Return whether a simulator responds at an address; False if nothing listens there.

    Raises:
        ConfigurationError: something else listens there, or it is no http address.
    """
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise ConfigurationError(
            f"{url!r} is not the address of a simulator; it looks like {DEFAULT_URL}"
        )
    # Loopback is never behind a proxy, so proxies of the environment are ignored.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/simulator/clock", timeout=PROBE_SECONDS) as response:
            state = cast("object", json.loads(response.read(100_000)))
    except urllib.error.HTTPError as error:
        raise _make_other_server_error(url, f"status {error.code}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _make_other_server_error(url, "no response in time") from None
        return False
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _make_other_server_error(url, str(error) or type(error).__name__) from None
    if not isinstance(state, dict) or "market_ms" not in state:
        raise _make_other_server_error(url, "another document")
    return True


def _make_other_server_error(url: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"something listens at {url} that is not a simulator ({found}); "
        "stop it, or name the simulator's own address"
    )
