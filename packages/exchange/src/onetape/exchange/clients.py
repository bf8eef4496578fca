"""Settings of CCXT clients, for REST and for CCXT Pro, and the endpoint that they connect to."""

from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.symbols import SIMULATOR_ID

#: Time limit of one REST request, milliseconds.
REST_TIMEOUT_MS = 10_000
#: Interval of CCXT Pro's pings, milliseconds; without a response to three pings the connection is
#: dead. Binance's own pings come every 180 s.
WS_KEEP_ALIVE_MS = 10_000
#: Number of candles that CCXT Pro stores of each stream; they are read at once.
WS_CACHED_CANDLES = 20


#: CCXT's Binance classes with spot markets; the other Binance classes are for derivatives.
_BINANCE_SPOT: Final = ("binance", "binanceus")


class Endpoint(Struct, frozen=True):
    """Where requests are sent: an exchange, its test network, or a simulator at an address."""

    exchange: str
    """CCXT exchange id, or `simulator`."""
    simulator_url: str | None = None
    """Address of a simulator, such as `http://127.0.0.1:8790`; only for the simulator."""
    is_sandbox: bool = False
    """Whether the endpoint is the exchange's test network, without real money."""

    def __post_init__(self) -> None:
        """Refuse an address for a real exchange, to which orders could be sent by mistake.

        Raises:
            ConfigurationError: a real exchange has an address, or the simulator has none.
        """
        if (self.exchange == SIMULATOR_ID) != (self.simulator_url is not None):
            raise ConfigurationError(
                f"exchange {self.exchange!r}: an address is given for the exchange "
                f"{SIMULATOR_ID!r}, and only for it"
            )

    @property
    def ccxt_class(self) -> str:
        """Name of the CCXT class; that of the simulator is `binance`, whose protocol it has."""
        return "binance" if self.exchange == SIMULATOR_ID else self.exchange


def make_client_settings(endpoint: Endpoint) -> dict[str, Any]:
    """Return the settings for the constructor of the endpoint's CCXT class."""
    simulated = endpoint.exchange == SIMULATOR_ID
    settings: dict[str, Any] = {
        "timeout": REST_TIMEOUT_MS,
        # The simulator has no rate limit unless one is set.
        "enableRateLimit": not simulated,
        "streaming": {"keepAlive": WS_KEEP_ALIVE_MS},
        "options": {"defaultType": "spot", "OHLCVLimit": WS_CACHED_CANDLES},
    }
    if (endpoint.simulator_url or "").startswith("http://"):
        # Without TLS no certificates are needed, and reading them would take 30 ms.
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
    """Change the addresses of a CCXT client to the simulator or a test network, if it uses one.

    Raises:
        UsageError: CCXT has no test network of the exchange.
    """
    if endpoint.simulator_url is not None:
        redirect(client.urls["api"], endpoint.simulator_url)
        # CCXT would wait for the end of TLS connections, of which there are none.
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
    """Replace the host of every address of a CCXT Binance client by the simulator's, in place.

    Args:
        urls: The client's `urls["api"]`, nested.
        simulator_url: Address of the simulator, such as `http://127.0.0.1:8790`.
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
