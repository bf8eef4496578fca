"""What an exchange may respond: which responses are data, retried or final."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import ccxt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle
from onetape.core.errors import ExchangeError, ExchangeRefused, ExchangeUnreachable
from onetape.core.timeframes import Timeframe
from onetape.exchange.ccxt_errors import translating_ccxt_errors
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import open_market_clock
from onetape.exchange.pages import Page, iterate_closed_pages
from onetape.exchange.responses import ResponseTap, parse_candle
from onetape.exchange.rest import RestExchange
from onetape.exchange.wall_clock import ComputerWallClock
from wall_clocks import QuickWall

CallExchange = Callable[..., Any]
HOUR = 3_600
#: Where the running hour of the scripted server opened.
FORMING = 1_709_252_400 - 20 * 60
START = FORMING - 10 * HOUR
#: Four seconds hold so many attempts, with the jitter of the client's seed at least.
ATTEMPTS = 4
#: Replies that concern the moment, not the request: a read may be tried again.
RETRIED_CODES = {-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1021}


def make_kline(opened: int, price: str = "100.5") -> list[Any]:
    end_ms = (opened + HOUR) * 1_000 - 1
    return [opened * 1_000, price, price, price, price, "1.5", end_ms, "150", 3, "1", "100", "0"]


async def fetch_candles(exchange: RestExchange) -> list[Candle]:
    batch = await exchange.fetch_candles("BTC/USDT", "1h", since_ms=START * 1_000, limit=1_000)
    return batch.make_candles()


def fetch_page(ask: CallExchange, endpoint: Endpoint) -> list[Candle]:
    return ask(endpoint, fetch_candles)


def fetch_all_pages(
    ask: CallExchange, endpoint: Endpoint, start: int = START, end: int = FORMING
) -> list[Page]:
    async def pages(exchange: RestExchange) -> list[Page]:
        hour = Timeframe.parse("1h")
        return [
            page
            async for page in iterate_closed_pages(exchange, "BTC/USDT", hour, start=start, end=end)
        ]

    return ask(endpoint, pages)


def may_pass(reply: dict[str, Any]) -> bool:
    body: Any = reply["body"]
    code = None if isinstance(body, str) else int(body["code"])
    return reply["status"] in (418, 429) or reply["status"] >= 500 or code in RETRIED_CODES


def set_response(server: Any, **fields: Any) -> None:
    """Make the server give one response, always."""
    response = replace(server.script({}), **fields)

    def always(query: dict[str, str]) -> Any:
        del query
        return response

    server.script = always


def test_an_empty_list_is_a_valid_response_without_candles(
    call_exchange: CallExchange, server: Any
) -> None:
    set_response(server, body="[]")
    assert fetch_page(call_exchange, server.endpoint) == []
    assert len(server.requested) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html><body>maintenance</body></html>", "text/html"),
        ("null", "application/json"),
        ("{}", "application/json"),
        ("", "application/json"),
        (json.dumps([make_kline(START)])[:-20], "application/json"),
        ('"text"', "application/json"),
        ("[1, 2]", "application/json"),
        ('["abc"]', "application/json"),
        ('[{"a": 1}]', "application/json"),
        ('[["x", "y", "z", "1", "2", "3"]]', "application/json"),
        ("[[1e400, 1, 1, 1, 1, 1]]", "application/json"),
    ],
)
def test_status_200_without_candles_in_it_is_an_error_and_never_no_candles(
    call_exchange: CallExchange, server: Any, body: str, content_type: str
) -> None:
    set_response(server, body=body, content_type=content_type)
    with pytest.raises(ExchangeUnreachable) as caught:
        fetch_page(call_exchange, server.endpoint)
    assert "\n" not in str(caught.value)
    assert len(server.requested) >= ATTEMPTS


def test_a_truncated_body_is_requested_again(call_exchange: CallExchange, server: Any) -> None:
    set_response(server, body=[make_kline(START)], cut=True)
    with pytest.raises(ExchangeUnreachable):
        fetch_page(call_exchange, server.endpoint)
    assert len(server.requested) >= ATTEMPTS


def test_a_temporary_fault_loses_no_candle(call_exchange: CallExchange, server: Any) -> None:
    base = server.script({})
    good = replace(base, body=[make_kline(START)])
    bad = replace(base, body="<html></html>", status=503)

    def at_last(query: dict[str, str]) -> Any:
        del query
        return bad if len(server.requested) < ATTEMPTS else good

    server.script = at_last
    assert [row.timestamp for row in fetch_page(call_exchange, server.endpoint)] == [START]


def test_recorded_error_responses_are_retried_or_final_as_expected(shared: Path) -> None:
    recorded = json.loads((shared / "data/payloads/binance/errors.json").read_text())["items"]
    binance: Any = ccxt.binance()
    # CCXT chooses among Binance's error tables by the address, so it must be the real one.
    url = "https://api.binance.com/api/v3/klines?interval=1h&limit=451"

    def received(reply: dict[str, Any]) -> ExchangeError:
        body = reply["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        status, parsed = reply["status"], None if isinstance(body, str) else body
        try:
            with translating_ccxt_errors("binance"):
                binance.handle_errors(status, "Reason", url, "GET", {}, text, parsed, {}, None)
                binance.handle_http_status_code(status, "Reason", url, "GET", text)
        except ExchangeError as error:
            return error
        pytest.fail(f"{status} {text} is no error")

    found = [received(reply) for reply in recorded]
    expected = [ExchangeUnreachable if may_pass(one) else ExchangeRefused for one in recorded]
    assert len(recorded) == 41
    assert all(map(isinstance, found, expected))
    assert all("\n" not in str(error) and len(str(error)) < 400 for error in found)


@pytest.mark.parametrize(
    ("status", "body", "error", "requested"),
    [
        (429, {"code": -1003, "msg": "Too many requests"}, ExchangeUnreachable, ATTEMPTS),
        (500, {"code": -1006, "msg": "unexpected response"}, ExchangeUnreachable, ATTEMPTS),
        (502, "<html>502 Bad Gateway</html>", ExchangeUnreachable, ATTEMPTS),
        (400, {"code": -1121, "msg": "Invalid symbol."}, ExchangeRefused, 1),
        (401, {"code": -2015, "msg": "Invalid API-key"}, ExchangeRefused, 1),
    ],
)
def test_temporary_errors_are_requested_again_and_final_errors_once(
    call_exchange: CallExchange,
    server: Any,
    status: int,
    body: Any,
    error: type[Exception],
    requested: int,
) -> None:
    set_response(server, body=body, status=status)
    with pytest.raises(error):
        fetch_page(call_exchange, server.endpoint)
    assert len(server.requested) == requested or len(server.requested) > requested >= ATTEMPTS


@pytest.mark.parametrize(
    ("status", "words"), [(451, "does not serve this region"), (403, "forbidden"), (404, "wrong")]
)
def test_a_final_status_states_what_it_means_and_how_to_go_on(
    call_exchange: CallExchange, server: Any, status: int, words: str
) -> None:
    set_response(server, body="<html>no</html>", status=status, content_type="text/html")
    with pytest.raises(ExchangeRefused, match=words):
        fetch_page(call_exchange, server.endpoint)
    assert len(server.requested) == 1


def test_the_status_is_not_read_from_the_body(call_exchange: CallExchange, server: Any) -> None:
    body = {"code": -1001, "msg": "Internal error 404 in 403 of 451 places."}
    set_response(server, body=body, status=500)
    with pytest.raises(ExchangeUnreachable):
        fetch_page(call_exchange, server.endpoint)


def test_a_refused_connection_is_one_line_with_reason_and_remedy(
    refusing_port: int,
) -> None:
    url = f"http://127.0.0.1:{refusing_port}"
    with pytest.raises(ExchangeUnreachable, match=r"refused.*start one: uv run simulator"):
        open_market_clock(Endpoint("simulator", url), ComputerWallClock())


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("refused", "the connection was refused"),
        ("no-such-host.invalid", "its host name was not found"),
    ],
)
def test_an_exchange_that_cannot_be_reached_is_named_with_the_reason(
    run: Callable[[Any], Any], refusing_port: int, host: str, reason: str
) -> None:
    async def work() -> None:
        async with RestExchange(Endpoint("binance"), wall=QuickWall()) as exchange:
            address = f"127.0.0.1:{refusing_port}" if host == "refused" else host
            urls: dict[str, Any] = exchange._client.urls["api"]  # pyright: ignore[reportPrivateUsage] - no network
            for name in list(urls):
                urls[name] = f"http://{address}/api/v3"
            await exchange.fetch_market("BTC/USDT")

    with pytest.raises(ExchangeUnreachable) as caught:
        run(work())
    assert str(caught.value) == (
        f"cannot reach binance: {reason}; check the network, or work offline: --exchange simulator"
    )


def test_no_markets_are_an_error_and_requested_again(
    run: Callable[[Any], Any], server: Any
) -> None:
    whole = server.fixed["/api/v3/exchangeInfo"]
    server.fixed["/api/v3/exchangeInfo"] = b"<html></html>"

    async def twice() -> str:
        async with RestExchange(server.endpoint, wall=QuickWall()) as exchange:
            with pytest.raises(ExchangeUnreachable):
                await exchange.fetch_market("BTC/USDT")
            server.fixed["/api/v3/exchangeInfo"] = whole
            return (await exchange.fetch_market("BTC/USDT")).symbol

    assert run(twice()) == "BTC/USDT"


def read_recorded_pages(shared: Path) -> list[list[Any]]:
    items = json.loads((shared / "data/payloads/binance/rest_klines.json").read_text())["items"]
    pages = [item["body"] for item in items if "interval=1h&limit=1000" in item["query"]]
    return [row for page in pages for row in page]


def test_a_real_gap_inside_a_full_page_is_passed_without_losing_candles(
    call_exchange: CallExchange, server: Any, shared: Path
) -> None:
    rows = read_recorded_pages(shared)
    start, last = rows[0][0] // 1_000, rows[-1][0] // 1_000

    def page(query: dict[str, str]) -> Any:
        since = int(query["startTime"])
        found = [row for row in rows if row[0] >= since][: int(query["limit"])]
        return type(base)(body=found)

    base = server.script({})
    server.script = page
    walked = fetch_all_pages(call_exchange, server.endpoint, start, last + HOUR)
    opens = sorted({row.timestamp for one in walked for row in one.rows})
    assert opens == [row[0] // 1_000 for row in rows]
    gaps = [(a, b) for a, b in pairwise(opens) if b - a != HOUR]
    assert [(b - a) // HOUR - 1 for a, b in gaps] == [3]
    assert len(server.requested) == 2
    assert walked[-1].covered_until == last + HOUR


def test_row_19_unordered_and_duplicate_rows_are_sorted_and_unique(
    call_exchange: CallExchange, server: Any
) -> None:
    opens = [START + 2 * HOUR, START, START + HOUR, START]
    set_response(server, body=[make_kline(opened) for opened in opens])
    (page, *_) = fetch_all_pages(call_exchange, server.endpoint, START, START + 3 * HOUR)
    assert [row.timestamp for row in page.rows] == sorted(set(opens))


def test_a_time_in_the_future_does_not_make_the_paginator_skip_the_rest(
    call_exchange: CallExchange, server: Any
) -> None:
    def page(query: dict[str, str]) -> Any:
        since = int(query["startTime"]) // 1_000
        rows = [make_kline(opened) for opened in range(since, FORMING, HOUR)][:3]
        return type(base)(body=[*rows, make_kline(FORMING + 10_000 * HOUR)])

    base = server.script({})
    server.script = page
    walked = fetch_all_pages(call_exchange, server.endpoint)
    found = {time for one in walked for time in one.candles.timestamp.tolist()}
    assert found == set(range(START, FORMING, HOUR))


def test_a_row_without_a_readable_time_is_returned_for_the_quarantine(
    call_exchange: CallExchange, server: Any
) -> None:
    set_response(server, body=[make_kline(START), [START * 1_000 + 7, *make_kline(START)[1:]]])
    page = fetch_all_pages(call_exchange, server.endpoint, START, START + HOUR)[0]
    assert [row.timestamp for row in page.rows] == [-1, START]


def test_two_empty_responses_end_the_pagination(call_exchange: CallExchange, server: Any) -> None:
    set_response(server, body="[]")
    walked = fetch_all_pages(call_exchange, server.endpoint, FORMING - 2_500 * HOUR, FORMING)
    assert [page.rows for page in walked] == [[], []]
    assert len(server.requested) == 2
    assert walked[-1].covered_until == FORMING


def test_a_value_that_is_not_a_number_becomes_one_that_the_store_refuses() -> None:
    assert parse_candle([1_000, 1, 2, 3, 4, 5]) == Candle(1, 1, 2, 3, 4, 5)
    missing = parse_candle([None, None])
    assert missing.timestamp == -1
    assert all(isnan(value) for value in missing[1:])
    assert parse_candle([1_500, 1, 1, 1, 1, 1]).timestamp == -1


values = (
    st.none()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text("0123456789.eE-nain", max_size=8)
    | st.sampled_from([nan, inf, START * 1_000])
)
bodies = (
    st.lists(st.lists(values, max_size=9), max_size=4)
    | st.dictionaries(st.text(max_size=4), values, max_size=3)
    | values
)


@settings(
    max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(bodies, min_size=20, max_size=20))
def test_any_json_is_either_candles_or_a_known_error(
    call_exchange: CallExchange, server: Any, bodies: list[Any]
) -> None:
    async def each(exchange: RestExchange) -> None:
        for body in bodies:
            set_response(server, body=json.dumps(body))
            with suppress(ExchangeError):
                assert all(len(row) == 6 for row in await fetch_candles(exchange))

    call_exchange(server.endpoint, each)


def test_of_an_error_page_only_the_status_is_reported() -> None:
    page = "<html> <head><title>503 Service Unavailable</title></head> <body>"
    with pytest.raises(ExchangeUnreachable) as shown, translating_ccxt_errors("binance"):
        raise ccxt.ExchangeNotAvailable(
            f"binance GET https://x/y?z=1 503 Service Unavailable {page}"
        )
    assert str(shown.value) == "cannot reach binance: it responded with 503 Service Unavailable"


@pytest.mark.parametrize(
    ("headers", "date_ms"),
    [
        ({"Date": "Fri, 01 Mar 2024 00:20:00 GMT"}, 1_709_252_400_000),
        ({"DATE": "Fri, 01 Mar 2024 00:20:00 GMT", "Age": "0"}, 1_709_252_400_000),
        ({"Date": "Fri, 01 Mar 2024 00:20:00 GMT", "Age": "30"}, None),
        ({"Date": "yesterday"}, None),
        ({}, None),
    ],
    ids=["a date", "of no cache", "of a cache", "no date", "absent"],
)
def test_the_date_of_a_response_is_read_unless_a_cache_sent_it(
    headers: dict[str, str], date_ms: int | None
) -> None:
    client: Any = ccxt.Exchange()

    def refused(status: int, headers: Mapping[str, str], body: str) -> None:
        del status, headers, body

    tap = ResponseTap(client, refused, plain_rows=False)
    response = tap.capture()
    client.on_rest_response(200, "OK", "", "GET", headers, "{}")
    assert response.date_ms == date_ms
