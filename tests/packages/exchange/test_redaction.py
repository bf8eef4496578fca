"""No log, output, error or reason has a byte of a key or secret."""

import asyncio
import io
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import get_dialect
from onetape.exchange.order_calls import (
    OrderTerms,
    make_cancel_order_call,
    make_look_up_calls,
    make_market_order_call,
)
from onetape.exchange.outcomes import read_look_up, read_send
from onetape.exchange.redaction import redact, redact_client
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials, OrderRequest
from order_server import NOW_MS, OrderServer, ServerResponse, make_market, open_private_client

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ORDER = "da8e4ad59b78481c93e589746b0cf91f"
KEY, SECRET = "CanaryKey0123456789", "CanarySecret0123456789"
PASSWORD = "CanaryPassword0123456789"  # noqa: S105 - a canary
RESPONSES = {
    "filled": ServerResponse(
        b'{"orderId": 1, "symbol": "BTCUSDT", "clientOrderId": "%s"}' % ORDER.encode()
    ),
    "refused": ServerResponse(b'{"code": -2010, "msg": "Account has insufficient balance"}', 400),
    "page": ServerResponse(b"<html>down</html>", 502),
    "page with 200": ServerResponse(b"<html>down</html>"),
    "cut": ServerResponse(b'{"orderId"', ending="cut"),
    "reset": ServerResponse(b"", ending="reset"),
    "banned": ServerResponse(b'{"code": -1003, "msg": "banned"}', 418),
    "unread": ServerResponse(b'{"fills": 5, "orderId": {}}'),
    "none": ServerResponse(b"", 599),
}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Collect all log records, with every logger at level DEBUG, and the output of `run`."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    loggers = [logging.getLogger(name) for name in [None, *logging.root.manager.loggerDict]]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.root.addHandler(handler)
    try:
        yield text
    finally:
        logging.root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@pytest.fixture
def run(run: Run, written: io.StringIO) -> Run:
    """Return a function that runs a coroutine and collects all that is printed meanwhile."""

    def collect(work: Coroutine[Any, Any, Any]) -> Any:
        # pytest sets its own stdout after the fixtures of a test.
        with redirect_stdout(written), redirect_stderr(written):
            return run(work)

    return collect


async def send_verbosely(exchange: str, response: ServerResponse, written: io.StringIO) -> set[str]:
    """Send, cancel and look up with a client in verbose mode; return the signatures that it sent.

    All that its user could print is added to what was written.
    """
    signatures: set[str] = set()

    def script(_: str, request: str) -> ServerResponse:
        target, _, body = request.partition(" ")
        pairs = dict(parse_qsl(urlsplit(target).query) + parse_qsl(body))
        signatures.update(pairs.get("signature", "").split())
        return response

    async with (
        OrderServer(script) as server,
        open_private_client(
            exchange,
            server.url,
            before=redact_client,
            apiKey=KEY,
            secret=SECRET,
            password=PASSWORD,
            timeout=20_000,
        ) as tap,
    ):
        tap.client.verbose = True
        dialect = get_dialect(exchange)
        terms = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("0.0123"))
        calls = make_look_up_calls(dialect, ORDER, "BTC/USDT", since_ms=NOW_MS)
        for call in (
            make_market_order_call(dialect, terms, NOW_MS),
            make_cancel_order_call(dialect, ORDER, "BTC/USDT", exchange_order_id="1"),
            *calls,
        ):
            result = await tap.perform(call)
            outcome = read_send(exchange, result, ORDER)
            found = read_look_up(exchange, [call], [result], ORDER)
            written.write(f"{outcome} {found} {result} {tap} {result.error!r}")
            if result.error is not None:
                written.writelines(traceback.format_exception(result.error))
    return signatures


@pytest.mark.parametrize("name", list(RESPONSES))
def test_row_76_no_byte_of_a_secret_or_signature_is_written(
    run: Run, written: io.StringIO, name: str
) -> None:
    signatures = run(send_verbosely("binance", RESPONSES[name], written))
    text = written.getvalue()
    assert text
    assert signatures
    for secret in (KEY, SECRET, *signatures):
        assert secret not in text


@pytest.mark.parametrize("name", ["refused", "page", "cut"])
def test_row_76_no_byte_of_a_password_is_written(run: Run, written: io.StringIO, name: str) -> None:
    """OKX gives a password together with a key, and both go out in headers."""
    run(send_verbosely("okx", RESPONSES[name], written))
    text = written.getvalue()
    assert text
    for secret in (KEY, SECRET, PASSWORD):
        assert secret not in text


@pytest.mark.parametrize("name", list(RESPONSES))
def test_row_76_the_trading_client_writes_and_raises_no_secret(
    run: Run, written: io.StringIO, name: str
) -> None:
    sent: list[str] = []

    def script(_: str, request: str) -> ServerResponse:
        sent.append(request)
        return RESPONSES[name]

    async def work() -> None:
        async with (
            OrderServer(script) as server,
            PrivateClient(
                Endpoint("simulator", server.url),
                Credentials(KEY, SECRET, PASSWORD),
                now_ms=lambda: NOW_MS,
            ) as client,
        ):
            client._client.set_markets([make_market("BTCUSDT")])  # pyright: ignore[reportPrivateUsage]
            client._client.verbose = True  # pyright: ignore[reportPrivateUsage]
            order = OrderRequest(ORDER, "BTC/USDT", "sell", Decimal("0.0123"), NOW_MS)
            for ask in (
                lambda: client.submit(order),
                lambda: client.cancel("BTC/USDT", ORDER),
                lambda: client.look_up("BTC/USDT", ORDER, since_ms=0),
                client.fetch_balances,
                client.fetch_permissions,
            ):
                try:
                    await ask()
                except Exception as error:
                    written.writelines(traceback.format_exception(error))
        written.write(f"{client} {vars(client)}")

    run(work())
    text = written.getvalue()
    signatures = {part[10:] for one in sent for part in one.replace("&", " ").split()
                  if part.startswith("signature=")}  # fmt: skip
    assert len(signatures) >= 3
    for secret in (KEY, SECRET, PASSWORD, *signatures):
        assert secret not in text


def test_row_76_an_error_of_the_connection_holds_no_address(run: Run, written: io.StringIO) -> None:
    async def work() -> None:
        for url in ("http://127.0.0.1:9", "http://no.such.host.invalid"):
            async with open_private_client(
                "binance", url, before=redact_client, apiKey=KEY, secret=SECRET, timeout=20_000
            ) as tap:
                calls = make_look_up_calls(
                    get_dialect("binance"), ORDER, "BTC/USDT", since_ms=NOW_MS
                )
                result = await tap.perform(calls[0])
                assert result.error is not None
                written.writelines(traceback.format_exception(result.error))

    run(work())
    text = written.getvalue()
    assert "ExchangeNotAvailable" in text
    assert "signature=" not in text
    assert KEY not in text


def test_without_redaction_the_test_finds_the_secret(run: Run, written: io.StringIO) -> None:
    async def work() -> None:
        async with (
            OrderServer(lambda _, __: ServerResponse(b"{}")) as server,
            open_private_client("binance", server.url, apiKey=KEY, secret=SECRET) as tap,
        ):
            calls = make_look_up_calls(get_dialect("binance"), ORDER, "BTC/USDT", since_ms=NOW_MS)
            await tap.perform(calls[0])

    run(work())
    assert KEY in written.getvalue()


def test_a_text_loses_addresses_and_signatures() -> None:
    assert redact("binance GET https://a.b/c?x=1&signature=ff 502") == "binance GET (address) 502"
    assert redact("timestamp=1&signature=ff is bad") == "(address) is bad"
    assert redact("nothing secret") == "nothing secret"


def test_a_long_response_without_spaces_is_redacted_quickly() -> None:
    # A pattern took 18 s for a body of this length, and the event loop with it.
    text = "[" * 400_000
    assert redact(f"binance 418 {text}") == f"binance 418 {text}"
    assert redact(f"{text}https://a.b") == "(address)"


def test_a_cancelled_request_stays_cancelled(run: Run) -> None:
    async def work() -> None:
        waiting = asyncio.Event()

        class Client:
            async def fetch(self, url: str) -> None:
                waiting.set()
                await asyncio.Event().wait()

        client: Any = Client()
        redact_client(client)
        task = asyncio.ensure_future(client.fetch("http://x"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
