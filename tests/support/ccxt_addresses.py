"""Addresses of CCXT's unchanged classes, set to a server of the test without our own code."""

from typing import Any
from urllib.parse import urlsplit


def redirect(urls: dict[str, Any], address: str) -> None:
    """Replace every address of Binance in CCXT by the simulator's; paths of REST stay.

    Args:
        urls: `client.urls["api"]`.
        address: Address of the simulator, such as `http://127.0.0.1:8765`.
    """
    host = urlsplit(address).netloc
    for name, value in urls.items():
        if isinstance(value, dict):
            redirect(value, address)  # pyright: ignore[reportUnknownArgumentType] - CCXT's own
        elif "ws-api" in str(value):
            urls[name] = f"ws://{host}/ws-api/v3"
        elif str(value).startswith("ws"):
            urls[name] = f"ws://{host}/stream/ws"
        elif str(value).startswith("http"):
            urls[name] = f"http://{host}{urlsplit(str(value)).path}"
