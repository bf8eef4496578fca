"""The command `simulator ledger`: reads the ledger of a running simulator, and formats it."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final, cast

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.core.message_text import format_count
from onetape.simulator.embedded import is_running

_READ_SECONDS: Final = 30.0
#: Sections of the document, and the path below /simulator/ from which each is read.
SECTIONS: Final = {
    "account": "account",
    "orders": "ledger/orders",
    "fills": "ledger/fills",
    "balances": "ledger/balances",
}


def read_ledger(url: str, candles: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the whole ledger of a running simulator.

    Args:
        url: Address of the simulator.
        candles: Parameters of `GET /simulator/ledger` (symbol, interval, startTime, endTime), which
            returns closed candles of the market; None leaves candles out.

    Returns:
        Document with `account` (balances by asset), `orders`, `fills`, `balances`, and `candles`.

    Raises:
        ExchangeUnreachable: no simulator listens there.
        ExchangeRefused: the simulator refused the request.
    """
    if not is_running(url):
        raise ExchangeUnreachable(
            f"no simulator listens at {url}; start one (uv run simulator), or give --url ADDRESS"
        )
    document = {name: _read(url, path) for name, path in SECTIONS.items()}
    document["account"] = cast("dict[str, Any]", document["account"])["balances"]
    if candles is not None:
        document["candles"] = _read(url, f"ledger?{urllib.parse.urlencode(candles)}")
    return document


def format_summary(document: dict[str, Any]) -> str:
    """Return the balances and the numbers of orders and fills as lines for a person."""
    lines = [f"{'asset':<8}{'free':>24}{'locked':>24}"]
    for asset, balance in document["account"].items():
        lines.append(f"{asset:<8}{balance['free']:>24}{balance['locked']:>24}")
    statuses = {row["order_id"]: row["status"] for row in document["orders"]}
    still_open = sum(status in ("NEW", "PARTIALLY_FILLED") for status in statuses.values())
    # Refused orders have the number -1.
    orders = format_count(len([number for number in statuses if number > 0]), "order")
    fills = format_count(len(document["fills"]), "fill")
    lines.append(f"{orders} ({still_open} open), {fills}")
    return "\n".join(lines)


def _read(url: str, path: str) -> object:
    # The simulator is on this computer, so proxies of the environment are ignored.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        address = f"{url.rstrip('/')}/simulator/{path}"
        with opener.open(address, timeout=_READ_SECONDS) as response:
            return cast("object", json.loads(response.read()))
    except urllib.error.HTTPError as error:
        body = error.read(2_000).decode(errors="replace")
        raise ExchangeRefused(f"the simulator refused {path}: {body}") from None
