"""Writer of docs/exchanges.md: features that work on each exchange, and how far they were tried.

    uv run python tools/exchanges_reference.py            # writes the file
    uv run python tools/exchanges_reference.py --check    # ends with 6 where the file differs

The page comes from the data that the programs use (quirks, dialects, mark readers, CCXT's
descriptions) and from `EVIDENCE`, where each claim names the test that shows it.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import ccxt.pro

from onetape.core.quirks import QUIRKS, get_quirks
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.dialects import DIALECTS, Dialect, TestLevel
from onetape.websocket.marks import find_mark_reader
from trader.live.opening import LIVE_EXCHANGES, UNTESTED_EXCHANGES, describe_live_obstacle

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs", "exchanges.md")
Part = Literal["candles", "stream", "live"]


class Shown(NamedTuple):
    """How far a feature was tried, and the file of the tests that show it."""

    evidence: TestLevel
    test: str


_SIMULATOR: Final = "tested against the simulator"
#: Evidence by exchange and feature; features that are not listed are untested.
EVIDENCE: Final[Mapping[tuple[str, Part], Shown]] = {
    ("binance", "candles"): Shown(_SIMULATOR, "tests/packages/exchange/test_simulator.py"),
    ("kraken", "candles"): Shown("recorded replies", "tests/packages/exchange/test_recorded.py"),
    ("okx", "candles"): Shown("recorded replies", "tests/packages/exchange/test_recorded.py"),
    ("binance", "stream"): Shown(_SIMULATOR, "tests/packages/websocket/test_stream.py"),
    ("binance", "live"): Shown(_SIMULATOR, "tests/packages/exchange/test_trading.py"),
}
_BEGINNING: Final = """\
# Exchanges

<!-- Written by tools/exchanges_reference.py; a test compares it. -->

What works where, and how far it was tried. *Tested against the simulator*: CCXT's unchanged class
of that exchange against the built-in simulator, which implements Binance's protocol. *Recorded
replies*: CCXT's class against responses that were recorded from the exchange. *Untested*: read in
CCXT's source; it was never tried with Onetape. `backfiller exchanges` lists all exchanges of CCXT
that serve candles.

"""
_LIVE: Final = """
## Live orders

`trader --live` sends orders to `simulator` and, with `--sandbox`, to the test network of {tested}.
With `--untested-exchange` it also sends orders with real money to {tested}, and orders to
{untested} ([live.md](live.md#known-defects)). For {untested}, tests compare the
exact HTTP requests that CCXT would send (`tests/packages/exchange/test_order_calls.py`) and the
meaning of their responses, but no order was ever sent there. Every other exchange is refused.
No order of these tests left this machine: *tested against the simulator* means that the imitation
of Binance accepted the orders, not that Binance did.

The rows of {refused} show what CCXT's source would send; `trader --live` refuses
these exchanges.

"""
_CORRECTIONS: Final = """
## What CCXT sends wrongly

Found by comparing the requests that go out; `onetape.exchange.order_calls` sends something else, or
refuses.

"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it with `--check`; return the exit code."""
    is_check = arguments == ["--check"]
    if arguments and not is_check:
        print(__doc__)
        return 2
    file, text = ROOT / PAGE, make_page()
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return 0
    if is_check:
        print(f"{PAGE} differs; run: uv run python tools/exchanges_reference.py")
        return 6
    file.write_text(text, encoding="utf-8")
    print(f"{PAGE} written")
    return 0


def make_page() -> str:
    """Return the page."""
    names = [SIMULATOR_ID, *(name for name in QUIRKS if name != SIMULATOR_ID)]
    known = (*LIVE_EXCHANGES, *UNTESTED_EXCHANGES)
    tested = _join_names(name for name in LIVE_EXCHANGES if name != SIMULATOR_ID)
    untested = _join_names(UNTESTED_EXCHANGES)
    refused = _join_names(name for name in DIALECTS if name not in known)
    return "".join(
        [
            _BEGINNING,
            "| exchange | candles | stream | paper | live |\n|---|---|---|---|---|\n",
            *(_format_row(name) for name in names),
            _LIVE.format(tested=tested, untested=untested, refused=refused),
            "| exchange | market buy | stop | look-up by client order id | late requests | tried |"
            "\n|---|---|---|---|---|---|\n",
            *(_format_live_row(name, dialect) for name, dialect in DIALECTS.items()),
            _CORRECTIONS,
            *_iterate_corrections(),
        ]
    )


def _join_names(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _format_row(name: str) -> str:
    candles, stream = _get_evidence(name, "candles"), _get_evidence(name, "stream")
    # Paper trading needs both features, and was tried as far as the one that was tried less.
    paper = "untested" if "untested" in (candles, stream) else _choose_weaker(candles, stream)
    live = _get_evidence(name, "live") if name in LIVE_EXCHANGES else _describe_untested_live(name)
    newest = get_quirks(name).newest_only
    limit = f"newest {newest} only, " if newest is not None else ""
    cells = (f"`{name}`", f"{limit}{candles}", f"{_describe_stream(name)}, {stream}", paper, live)
    return f"| {' | '.join(cells)} |\n"


def _describe_untested_live(name: str) -> str:
    """Return the text on live orders of an exchange to which no order was ever sent."""
    if name in UNTESTED_EXCHANGES:
        return "untested, with `--untested-exchange`"
    reason = describe_live_obstacle(name)
    return f"no: {reason}" if reason else "no"


def _describe_stream(name: str) -> str:
    """Return the text on the source of live candles."""
    kind: Any = getattr(ccxt.pro, _get_ccxt_name(name))
    if not kind().has.get("watchOHLCV"):
        return "candles built from trades"
    return "candles, marked when final" if find_mark_reader(kind) is not None else "candles"


def _format_live_row(name: str, dialect: Dialect) -> str:
    both = dialect.buys_by == "amount" and dialect.cost_params is not None
    cells = (
        f"`{name}`",
        "by amount or by cost" if both else f"by {dialect.buys_by}",
        " or ".join(f"stop {kind}" for kind in dialect.stop_kinds)
        + (", a fired one is a new order" if dialect.fired_order_field else ""),
        _describe_look_up(dialect),
        _describe_deadline(dialect),
        dialect.evidence,
    )
    return f"| {' | '.join(cells)} |\n"


def _describe_look_up(dialect: Dialect) -> str:
    methods = [query.method for query in dialect.queries]
    if methods == ["fetch_order"]:
        return "yes"
    if dialect.queries[0].id_param is None:
        return "no: all orders since the intent are listed"
    return "by lists that the exchange filters"


def _describe_deadline(dialect: Dialect) -> str:
    seconds = dialect.window_ms // 1_000
    how = {
        "timestamp": "refused by the time that the request states",
        "parameter": "refused by a deadline in the order",
        "header": "refused by a deadline in a header",
        "token": "refused by the age of its token",
    }[dialect.deadline]
    return f"{how}, {seconds} s"


def _iterate_corrections() -> Iterator[str]:
    for name, dialect in DIALECTS.items():
        for text in dialect.corrections:
            yield f"- `{name}`: {text}.\n"


def _get_evidence(name: str, part: Part) -> TestLevel:
    found = EVIDENCE.get((_get_ccxt_name(name), part))
    return "untested" if found is None else found.evidence


def _choose_weaker(first: TestLevel, second: TestLevel) -> TestLevel:
    return first if first != _SIMULATOR else second


def _get_ccxt_name(name: str) -> str:
    return "binance" if name == SIMULATOR_ID else name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
