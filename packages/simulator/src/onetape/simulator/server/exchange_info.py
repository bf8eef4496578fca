"""`GET /api/v3/exchangeInfo`: the rules of the exchange and of each market, in Binance's form."""

from functools import lru_cache
from typing import Final

from onetape.simulator.market.symbols import MAX_NOTIONAL, SpotSymbol
from onetape.simulator.server.wire import (
    JsonObject,
    JsonValue,
    NumberFormat,
    format_decimal_8,
    format_json,
)
from onetape.simulator.trading.rules import RuleBook

RATE_LIMITS: Final[list[JsonValue]] = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
]
ORDER_TYPES: Final = (
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)  # fmt: skip
#: Permissions with which an account may trade a market; Binance lists about 200 more groups.
PERMISSIONS: Final = ("SPOT", "MARGIN", "TRD_GRP_004", "TRD_GRP_005", "TRD_GRP_006")


def make_exchange_info(
    symbols: tuple[SpotSymbol, ...], now_ms: int, *, permission_sets: bool = True
) -> JsonObject:
    """Return the whole reply.

    Args:
        symbols: The markets to list.
        now_ms: The exchange's time, epoch milliseconds.
        permission_sets: Whether to fill `permissionSets` (`showPermissionSets` of the request).
    """
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": RATE_LIMITS,
        "exchangeFilters": [],
        # Smart order routing: Binance lists the routed markets; the simulator routes none.
        "sors": [],
        "symbols": [
            _make_symbol_entry(symbol, permission_sets, symbol.get_status(now_ms // 1_000))
            for symbol in symbols
        ],
    }


def format_exchange_info(
    symbols: tuple[SpotSymbol, ...], now_ms: int, rules: RuleBook, *, permission_sets: bool = True
) -> bytes:
    """Return the whole reply as JSON; the text of each market is made once and cached."""
    now = now_ms // 1_000
    head = format_json(make_exchange_info((), now_ms, permission_sets=permission_sets))
    entries = ",".join(
        _format_changed_symbol(symbol, permission_sets, symbol.get_status(now), rules)
        if rules.is_changed(symbol)
        else _format_symbol(symbol, permission_sets, symbol.get_status(now))
        for symbol in symbols
    )
    return f"{head[:-2]}{entries}]}}".encode()


@lru_cache(maxsize=8_192)
def _format_symbol(symbol: SpotSymbol, permission_sets: bool, status: str) -> str:
    return format_json(_make_symbol_entry(symbol, permission_sets, status))


def _format_changed_symbol(
    symbol: SpotSymbol, permission_sets: bool, status: str, rules: RuleBook
) -> str:
    """Return a market whose steps or limits were changed."""
    entry = _make_symbol_entry(symbol, permission_sets, status)
    price_step, amount_step, smallest_value, largest_amount = rules.format_rules(symbol)
    changes: dict[str, JsonObject] = {
        "PRICE_FILTER": {"minPrice": price_step, "tickSize": price_step},
        "LOT_SIZE": {"minQty": amount_step, "stepSize": amount_step},
        "MARKET_LOT_SIZE": {"maxQty": largest_amount},
        "NOTIONAL": {"minNotional": smallest_value},
    }
    filters = _make_filters(symbol)
    entry["filters"] = [one | changes.get(str(one["filterType"]), {}) for one in filters]
    return format_json(entry)


def _make_symbol_entry(symbol: SpotSymbol, permission_sets: bool, status: str) -> JsonObject:
    return {
        "symbol": symbol.id,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": True,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _make_filters(symbol),
        "permissions": [],
        "permissionSets": [list(PERMISSIONS)] if permission_sets else [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": [
            "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT",
        ],
    }  # fmt: skip


def _make_filters(symbol: SpotSymbol) -> list[JsonObject]:
    tick = NumberFormat(symbol).format_price(1)
    step = format_decimal_8(1, symbol.amount_digits)
    zero = format_decimal_8(0, 0)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": symbol.max_price,
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": step,
            "maxQty": symbol.max_quantity,
            "stepSize": step,
        },
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": zero,
            "maxQty": symbol.max_market_quantity,
            "stepSize": zero,
        },
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": 10,
            "maxTrailingAboveDelta": 2000,
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": symbol.min_notional,
            "applyMinToMarket": True,
            "maxNotional": f"{MAX_NOTIONAL:.8f}",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
