"""The processes of a cluster: the scheduler of one computer, the workers of each."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_count, format_error
from onetape.optimization.cluster.address import (
    CONNECT_SECONDS,
    ClusterAddress,
    configure_dask,
    make_security,
)
from onetape.optimization.cluster.worker_tasks import FOLDER_VARIABLE

#: Address of Dask's own pages, which have no contents: this computer, any free port.
_NO_PAGES: Final = "127.0.0.1:0"
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
#: Time for workers to end before they are killed, seconds.
END_SECONDS: Final = 2.0


def run_scheduler(address: ClusterAddress, show: Callable[[str], object]) -> None:
    """Run a scheduler until SIGTERM or Ctrl-C.

    Args:
        address: Address to listen at.
        show: Shows a line.

    Raises:
        ConfigurationError: the address cannot be used, or Dask is missing.
    """
    configure_dask()
    asyncio.run(_run_scheduler(address, show))


def run_workers(
    address: ClusterAddress, jobs: int, folder: Path, show: Callable[[str], object]
) -> None:
    """Run workers of a scheduler until SIGTERM or Ctrl-C, or until the scheduler has ended.

    Args:
        address: Address of the scheduler.
        jobs: Number of workers, each a process with one thread.
        folder: Folder of the files with candles.
        show: Shows a line.

    Raises:
        ConfigurationError: no scheduler responds, its certificates differ, or Dask is missing.
    """
    configure_dask()
    asyncio.run(_run_workers(address, jobs, folder, show))


async def _run_scheduler(address: ClusterAddress, show: Callable[[str], object]) -> None:
    from distributed import Scheduler

    stopped = _take_signals()
    scheduler: Any = Scheduler(
        host=address.host,
        port=address.port,
        protocol=address.protocol,
        security=make_security(address),
        dashboard=False,
        dashboard_address=_NO_PAGES,
    )
    try:
        await scheduler
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"--listen {address.host}:{address.port} cannot be used: {format_error(error)}; choose "
            "an address of this computer and a free port"
        ) from error
    show(f"scheduler at {scheduler.address}; Ctrl-C stops it")
    try:
        name = await stopped
    finally:
        await scheduler.close()
    show(f"{name}: stopped")


async def _run_workers(
    address: ClusterAddress, jobs: int, folder: Path, show: Callable[[str], object]
) -> None:
    from distributed import Nanny, rpc

    stopped = _take_signals()
    security: Any = make_security(address)
    arguments = security.get_connection_args("worker")
    try:
        scheduler: Any
        async with rpc(address.text, connection_args=arguments) as scheduler:
            await asyncio.wait_for(scheduler.identity(), CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ConfigurationError(
            f"{address.text}: no scheduler responds there, or its certificates are others; start "
            "one: backtester cluster start"
        ) from error
    options: dict[str, Any] = {
        "nthreads": 1,
        "security": security,
        "host": "127.0.0.1" if address.is_loopback else None,
        "protocol": address.protocol,
        "local_directory": str(folder),
        "dashboard": False,
        "dashboard_address": _NO_PAGES,
        "memory_limit": 0,
        "death_timeout": CONNECT_SECONDS,
        "env": {FOLDER_VARIABLE: str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    }
    workers: list[Any] = [Nanny(address.text, **options) for _ in range(jobs)]
    try:
        await asyncio.gather(*workers)
        show(f"{format_count(jobs, 'worker')} joined {address.text}; Ctrl-C stops the program")
        ends = [asyncio.ensure_future(one.finished()) for one in workers]
        await asyncio.wait({stopped, *ends}, return_when=asyncio.FIRST_COMPLETED)
        name = stopped.result() if stopped.done() else "the scheduler has ended"
    finally:
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.gather(*(one.close(timeout=END_SECONDS) for one in workers))
    show(f"{name}: stopped")


def _take_signals() -> "asyncio.Future[str]":
    """Return a future that the first SIGTERM or Ctrl-C sets to the signal's name."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result("Ctrl-C" if number is signal.SIGINT else number.name)

    for number in _STOPPING:
        loop.add_signal_handler(number, stop, number)
    return stopped
