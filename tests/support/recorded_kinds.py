"""Kind of each recorded reply and message of Binance, or the reason why it is out of scope."""

import json
from pathlib import Path
from typing import Any

Item = dict[str, Any]
#: In place of a kind: the recording is out of scope, for this reason.
BOOK_CHANGES = "out: streams of the book's changes are not served, no program of ours reads them"
MANY_ORDERS = "out: order lists (OCO) and cancel-replace wait until the trader sends them"
OLD_FILTERS = "out: the filters of 2021; our markets state those of today"
WS_PRICES = "out: market data over the WebSocket API, which CCXT requests over REST"
ROLLING = "out: GET /api/v3/ticker with a given window is not served"
NOT_A_REPLY = "out: no reply of Binance but a piece of a futures or margin sample"

#: Kind of a REST recording by its path.
PATHS = {
    "/api/v3/klines": "klines",
    "/api/v3/ticker/24hr": "day ticker",
    "/api/v3/ticker/bookTicker": "book ticker",
    "/api/v3/ticker/price": "price ticker",
    "/api/v3/avgPrice": "average",
    "/api/v3/depth": "depth",
    "/api/v3/trades": "trades",
    "/api/v3/historicalTrades": "old trades",
    "/api/v3/exchangeInfo": "exchange info",
}
#: Kind of a recording of the exchange's reference by its name.
REFERENCE = {
    "account_response": "account",
    "account_trades_response": "own trades",
    "all_orders_response": "all orders",
    "avg_price_response": "average",
    "book_ticker_response": "book ticker",
    "cancel_open_orders_response": "cancelled orders",
    "cancel_order_response": "cancelled order",
    "depth_response": "depth",
    "exchange_info_response": "exchange info",
    "klines_response": "klines",
    "new_order_full_response": "new order",
    "open_orders_response": "open orders",
    "order_response": "order",
    "ping_response": "ping",
    "server_time_response": "time",
    "ticker_24hr_response": "day ticker",
    "ticker_price_response": "price ticker",
    "trades_response": "trades",
    "account_position": "outboundAccountPosition",
    "account_position_wrapped": "wrapped outboundAccountPosition",
    "balance_update": "balanceUpdate",
    "balance_update_wrapped": "wrapped balanceUpdate",
    "execution_report_canceled": "report CANCELED",
    "execution_report_expired": "report EXPIRED",
    "execution_report_new": "report NEW",
    "execution_report_stop_loss": "report of a stop",
    "execution_report_trade": "report TRADE",
    "execution_report_wrapped": "wrapped executionReport",
    "list_status_wrapped": MANY_ORDERS,
}
#: Kind of a sample in CCXT's source by its function and label.
SAMPLES = {
    ("parse_ticker", "spot - ticker"): ROLLING,
    ("parse_ticker", "spot bidsAsks"): "book ticker",
    ("fetch_status", ""): "status",
    ("parse_last_price", "spot"): "price ticker",
    ("fetch_ohlcv", ""): "klines",
    ("fetch_trades", "aggregate trades"): "aggregates",
    ("fetch_trades", "recent public trades and historical public trades"): "trades",
    ("edit_spot_order", "spot"): MANY_ORDERS,
    ("parse_order", "spot"): "order",
    ("parse_order", "spot: editOrder"): "new limit order",
    ("parse_order", 'createOrder with { "newOrderRespType": "FULL" }'): "new order",
    ("fetch_orders", "spot"): "all orders",
    ("cancel_all_orders", ""): "cancelled orders",
    ("fetch_my_trades", "spot trade"): "own trades",
    ("fetch_trading_fee", "spot"): "trade fee",
    ("fetch_trading_fees", ""): "trade fee",
    ("handle_subscription_status", ""): "subscribed",
    ("parse_ws_ticker", "ticker"): "stream ticker",
    ("parse_ws_ticker", "miniTicker"): "stream miniTicker",
    ("parse_ws_ticker", "fetchTickerWs"): WS_PRICES,
    ("parse_ws_ticker", "fetchTickerWs - ticker.book"): WS_PRICES,
    ("handle_ticker_ws", "ticker.price"): WS_PRICES,
    ("handle_ticker_ws", "ticker.book"): WS_PRICES,
    ("handle_fetch_ohlcv", ""): WS_PRICES,
    ("handle_ohlcv", ""): "stream kline",
    ("handle_bids_asks", "arrives one symbol dict or array of symbol dicts"): "stream bookTicker",
    ("handle_user_data_stream_subscribe", ""): "user stream",
    ("handle_account_status_ws", "spot"): "account over WebSocket",
    ("handle_balance", "sent upon a balance update not related to orders"): "balanceUpdate",
    ("handle_balance", "sent upon creating or filling an order"): "outboundAccountPosition",
    ("handle_balance", "externalLockUpdate"): "out: nothing outside the account locks balances",
    ("handle_order_ws", ""): "new order over WebSocket",
    ("handle_edit_order_ws", "spot"): MANY_ORDERS,
    ("handle_ws_error", ""): "refused stream",
}
#: Kind of a sample with a label that several share, by its keys.
TRADES_BY_KEY = {"a": "aggregates", "isBestMatch": "trades", "tradeId": NOT_A_REPLY}
EVENTS = {
    "24hrTicker": "stream ticker",
    "24hrMiniTicker": "stream miniTicker",
    "kline": "stream kline",
    "trade": "stream trade",
    "aggTrade": "stream aggTrade",
    "depthUpdate": BOOK_CHANGES,
    "listStatus": MANY_ORDERS,
    "balanceUpdate": "balanceUpdate",
    "outboundAccountPosition": "outboundAccountPosition",
}
#: CCXT's fixtures hold every number as a string; these are numbers in what Binance sends.
FIXTURE = "ccxt_static_create_order.json"
FIXTURE_NUMBERS = ("orderId", "orderListId", "transactTime", "workingTime")
#: Key that only an iceberg order has, as the recorded one was; we refuse such orders.
FIXTURE_ICEBERG = "icebergQty"
#: Files whose recordings another test walks, with the name of that test.
WALKED_ELSEWHERE = {
    "errors.json": "test_every_recorded_error_is_tested_or_cannot_occur",
}


def read_recordings(shared: Path) -> list[tuple[str, Item]]:
    """Return every recording with its file's name."""
    folder = shared / "data" / "payloads" / "binance"
    return [
        (path.name, item)
        for path in sorted(folder.glob("*.json"))
        for item in json.loads(path.read_text())["items"]
    ]


def find_kind(file: str, item: Item) -> str | None:
    """Return a recording's kind or the reason for none; None: the recording is unknown."""
    if file in WALKED_ELSEWHERE:
        return f"out: walked by {WALKED_ELSEWHERE[file]}"
    if file == "rest_exchangeInfo_2021.json":
        return OLD_FILTERS
    if file == FIXTURE:
        return "new limit order"
    if "path" in item:
        return PATHS.get(item["path"])
    if "name" in item:
        return REFERENCE.get(item["name"])
    if "message" in item:
        return _find_message_kind(item["message"]["data"])
    known = SAMPLES.get((item["ccxt_function"], item["label"]))
    body = item["body"]
    if known is None and item["ccxt_function"] in ("parse_trade", "parse_ws_trade"):
        if "e" in body:
            return EVENTS.get(body["e"])
        if "commission" in body and "tradeId" not in body:
            return "own trades"
        return next((kind for key, kind in TRADES_BY_KEY.items() if key in body), None)
    return known


def _find_message_kind(event: Item) -> str | None:
    if "e" not in event:
        return "stream bookTicker"
    if event["e"] == "executionReport":
        return f"report {event['x']}"
    return EVENTS.get(event["e"])


def get_body(file: str, item: Item) -> Any:
    """Return the content that the exchange sent: a body, reply, or message without envelope."""
    if "message" in item:
        return item["message"]["data"]
    if file != FIXTURE:
        return item.get("body", item.get("httpResponse"))
    sent = {key: value for key, value in item["httpResponse"].items() if key != FIXTURE_ICEBERG}
    return sent | {key: int(sent[key]) for key in FIXTURE_NUMBERS}
