"""The settings of a CCXT client, the same for REST and for CCXT Pro."""

from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.symbols import SIMULATOR_ID

#: Time limit of one REST request, milliseconds.
REST_TIMEOUT_MS = 10_000
#: CCXT notices a dead connection after three of these (milliseconds); Binance's own are 180 s.
WS_KEEP_ALIVE_MS = 10_000
#: Candles that CCXT Pro keeps of each stream: we read them at once.
WS_CANDLES_KEPT = 20


#: Binance's exchanges with spot markets; CCXT's classes of the others extend the same one.
_BINANCE_SPOT: Final = ("binance", "binanceus")


class Endpoint(Struct, frozen=True):
    """Exchange of the requests, and the simulator's address if it is the simulator."""

    exchange: str
    """CCXT exchange id, or `simulator`."""
    simulator_url: str | None = None
    """Address of a simulator, such as `http://127.0.0.1:8790`; only for the simulator."""
    is_sandbox: bool = False
    """Whether the endpoint is the exchange's test network, without real money."""

    def __post_init__(self) -> None:
        """Refuse an address for anything but the simulator: it could send orders elsewhere."""
        if (self.exchange == SIMULATOR_ID) != (self.simulator_url is not None):
            raise ConfigurationError(
                f"exchange {self.exchange!r}: an address is given for the exchange "
                f"{SIMULATOR_ID!r}, and only for it"
            )

    @property
    def ccxt_class(self) -> str:
        """Name of the CCXT class: the simulator implements Binance's protocol."""
        return "binance" if self.exchange == SIMULATOR_ID else self.exchange


def make_client_settings(endpoint: Endpoint) -> dict[str, Any]:
    """Return the arguments of the CCXT class."""
    simulated = endpoint.exchange == SIMULATOR_ID
    settings: dict[str, Any] = {
        "timeout": REST_TIMEOUT_MS,
        # Only we use the simulator, and it has no limits unless they are set.
        "enableRateLimit": not simulated,
        "streaming": {"keepAlive": WS_KEEP_ALIVE_MS},
        "options": {"defaultType": "spot", "OHLCVLimit": WS_CANDLES_KEPT},
    }
    if (endpoint.simulator_url or "").startswith("http://"):
        # No TLS, so no certificates to check: reading them would take 30 ms.
        settings["verify"] = False
    if endpoint.ccxt_class.startswith("binance"):
        settings["options"] |= {
            # One socket for all streams of a symbol.
            "streamLimits": {"spot": 1},
            # The default of CCXT, miniTicker, has neither bid nor ask.
            "watchTickers": {"name": "ticker"},
        }
    if endpoint.ccxt_class in _BINANCE_SPOT:
        # One exchangeInfo call instead of four.
        settings["options"] |= {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}
    return settings


def point_client(client: Any, endpoint: Endpoint) -> None:
    """Point a CCXT client at the simulator or at a test network, where the endpoint is one.

    Raises:
        UsageError: CCXT has no test network of the exchange.
    """
    if endpoint.simulator_url is not None:
        redirect(client.urls["api"], endpoint.simulator_url)
        # CCXT would wait for the end of a TLS that is not there.
        client.timeout_on_exit = 0
    elif endpoint.is_sandbox:
        if not client.urls.get("test"):
            raise UsageError(
                f"CCXT has no test network of {endpoint.exchange}; leave --sandbox out, or "
                "practise with --exchange simulator",
                setting="sandbox",
            )
        client.set_sandbox_mode(True)


def redirect(urls: dict[str, Any], simulator_url: str) -> None:
    """Point every address of a CCXT Binance client at the simulator, in place.

    Args:
        urls: The client's `urls["api"]`.
        simulator_url: Such as `http://127.0.0.1:8790`.
    """
    host = urlsplit(simulator_url).netloc
    for name, value in urls.items():
        if isinstance(value, dict):
            redirect(value, simulator_url)  # pyright: ignore[reportUnknownArgumentType] - CCXT's own
        elif str(value).startswith("ws") and "/ws-api/" in str(value):
            urls[name] = f"ws://{host}/ws-api/v3"
        elif str(value).startswith("ws"):
            # CCXT distinguishes spot from swap by `/stream` in the address.
            urls[name] = f"ws://{host}/stream/ws"
        elif str(value).startswith("http"):
            path = urlsplit(str(value)).path
            urls[name] = f"http://{host}{path}"
