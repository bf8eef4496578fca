"""Lists the exchanges and what CCXT states about each: candles, timeframes, limits; no request."""

from typing import Any

import ccxt
from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.quirks import QUIRKS, get_quirks
from onetape.core.symbols import SIMULATOR_ID


class ExchangeFacts(Struct, frozen=True):
    """Facts about one exchange from CCXT's description."""

    exchange: str
    """CCXT exchange id, or `simulator`."""
    name: str
    """Name of the exchange, such as `Binance`."""
    serves_candles: bool
    """Whether CCXT fetches spot candles of the exchange."""
    timeframes: tuple[str, ...]
    """Timeframes that can be used, shortest first as CCXT lists them."""
    page_limit: int | None
    """Maximum number of candles in one response, from `QUIRKS` or CCXT; None: not known."""
    pause_ms: int
    """CCXT's pause between two requests, milliseconds; 0 for the simulator, which has no limit."""
    newest_only: bool
    """Whether the exchange serves only its newest candles, so that history must be imported."""
    is_tried: bool
    """Whether the exchange has an entry in `QUIRKS`; otherwise cautious defaults are used."""


def list_exchange_ids() -> list[str]:
    """Return all valid exchange ids: those of CCXT, and `simulator`."""
    return [SIMULATOR_ID, *ccxt.exchanges]


def check_exchange(exchange: str) -> str:
    """Return the exchange id unchanged if it is valid.

    Raises:
        UsageError: CCXT has no such exchange; the text names the most similar id.
    """
    if exchange not in list_exchange_ids():
        raise UsageError(
            f"exchange {exchange!r} is not known to "
            f"CCXT{suggest_name(exchange, list_exchange_ids())}"
        )
    return exchange


def collect_exchange_facts() -> list[ExchangeFacts]:
    """Return the facts about every exchange of CCXT and the simulator, by id."""
    return [get_exchange_facts(exchange) for exchange in sorted(list_exchange_ids())]


def get_exchange_facts(exchange: str) -> ExchangeFacts:
    """Return the facts about one exchange, by its CCXT id or `simulator`."""
    described = _load_description("binance" if exchange == SIMULATOR_ID else exchange)
    quirks = get_quirks(exchange)
    has: dict[str, Any] = described.get("has") or {}
    timeframes: dict[str, Any] = described.get("timeframes") or {}
    is_tried = exchange in QUIRKS
    return ExchangeFacts(
        exchange=exchange,
        name="Onetape's simulator" if exchange == SIMULATOR_ID else str(described.get("name")),
        serves_candles=bool(has.get("fetchOHLCV")) and has.get("spot") is not False,
        timeframes=tuple(name for name in timeframes if name not in quirks.unserved_timeframes),
        page_limit=quirks.page_limit if is_tried else _find_stated_limit(described),
        pause_ms=0 if exchange == SIMULATOR_ID else int(described.get("rateLimit") or 0),
        newest_only=quirks.newest_only is not None,
        is_tried=is_tried,
    )


def collect_common_codes(exchange: str) -> dict[str, str]:
    """Return CCXT's currency code for each code of an exchange that CCXT replaces.

    CCXT replaces XBT by BTC on every exchange, and Kraken's LUNA by LUNC, because LUNA is another
    coin.

    Args:
        exchange: CCXT exchange id; for an id that CCXT does not have, only the codes that CCXT
            replaces on every exchange are returned.
    """
    client: Any = ccxt.Exchange
    codes: dict[str, str] = dict(client().commonCurrencies)
    if exchange in ccxt.exchanges:
        codes |= _load_description(exchange).get("commonCurrencies") or {}
    return codes


def _load_description(ccxt_class: str) -> dict[str, Any]:
    kind: Any = getattr(ccxt, ccxt_class)
    try:
        # `describe` needs no initialised client, and making a hundred clients would take seconds.
        return object.__new__(kind).describe()
    except AttributeError:
        return kind().describe()


def _find_stated_limit(described: dict[str, Any]) -> int | None:
    """Return the candles of one response on spot markets, as CCXT's `features` state; or None."""
    features: dict[str, Any] = described.get("features") or {}
    spot: dict[str, Any] = features.get("spot") or features.get("default") or {}
    while "fetchOHLCV" not in spot and spot.get("extends") in features:
        spot = features[spot["extends"]]
    candles: dict[str, Any] = spot.get("fetchOHLCV") or {}
    limit = candles.get("limit")
    return None if limit is None else int(limit)
