"""Listening on an address; one that other machines can reach needs `--allow-remote`."""

import errno

from aiohttp import web

from onetape.core.errors import ConfigurationError, SafetyRefusal
from onetape.core.loopback import is_loopback


def refuse_remote(host: str, *, allow_remote: bool) -> None:
    """Raise where other machines could reach an address and it is not allowed.

    Raises:
        SafetyRefusal: the address is not loopback and `allow_remote` is not set.
    """
    if not allow_remote and not is_loopback(host):
        raise SafetyRefusal(
            f"{host} can be reached from other machines and the simulator has no "
            "password; use 127.0.0.1, or add --allow-remote"
        )


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve an application; return its runner and the port; port 0 takes a free one.

    Raises:
        ConfigurationError: the address cannot be used, for example because it is in use.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(_format_listen_error(host, port, error)) from None
    return runner, int(runner.addresses[0][1])


def format_url(host: str, port: int) -> str:
    """Return the address of a server, such as `http://127.0.0.1:8790`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _format_listen_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what runs there or choose another --port"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
