"""CCXT's exceptions turned into ours: the one border between the two families.

CCXT's tree mixes what may pass with what will not: HTTP 451 (blocked region) is an
ExchangeNotAvailable there, error -1006 (unknown state) no NetworkError, and an answer cut short a
bare ExchangeError. So the answer's status decides where there is one.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import ccxt

from onetape.core.errors import ExchangeError, ExchangeRefused, ExchangeUnreachable
from onetape.core.symbols import SIMULATOR_ID

#: HTTP statuses that another attempt will not change.
_FINAL_STATUS: Final = {
    # With an error code in it a 400 bears no status: CCXT knows it by the code.
    400: "it did not understand the request: blocked, or a wrong address (HTTP 400)",
    401: "the key was refused",
    403: "access is forbidden from here (HTTP 403)",
    404: "the address is wrong (HTTP 404)",
    405: "the address is wrong (HTTP 405)",
    410: "the address is gone (HTTP 410)",
    451: "the exchange does not serve this region (HTTP 451)",
}
#: CCXT writes `binance GET https://... 451 Unavailable BODY` or `binance 429 Too Many BODY`; a
#: number in the body is no status.
_STATUS: Final = re.compile(r"\S+ (?:[A-Z]+ \S+ )?([45]\d\d) ")
_CAUSES: Final = (
    ("Name or service not known", "its host name was not found"),
    ("Temporary failure in name resolution", "its host name was not found"),
    ("nodename nor servname", "its host name was not found"),
    ("getaddrinfo", "its host name was not found"),
    ("Connect call failed", "the connection was refused"),
    ("Connection refused", "the connection was refused"),
    ("Network is unreachable", "there is no network"),
    ("certificate", "its certificate was not accepted"),
    ("timed out", "it did not answer in time"),
    ("Timeout", "it did not answer in time"),
)


class RateLimited(ExchangeUnreachable):
    """The exchange asks to be left alone for a while: too many requests, or a ban."""

    def __init__(self, text: str, *, is_ban: bool) -> None:
        """Say why; `is_ban` where going on would make it longer."""
        super().__init__(text)
        self.is_ban = is_ban


class SymbolRefused(ExchangeRefused):
    """The exchange has no such market (any more), or trades it no more; other markets go on."""


@contextmanager
def translated(exchange: str) -> Generator[None]:
    """Raise every CCXT exception inside as ExchangeUnreachable or ExchangeRefused."""
    try:
        yield
    except ExchangeError:
        raise
    except ccxt.BaseError as error:
        raise _ours(exchange, error) from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # CCXT parses without looking: a body of another type surfaces as one of these.
        raise ExchangeUnreachable(
            f"{exchange} sent an answer that could not be read ({type(error).__name__}: {error})"
        ) from error


def _ours(exchange: str, error: ccxt.BaseError) -> ExchangeError:
    text = " ".join(str(error).split())
    match = _STATUS.match(text)
    status = int(match[1]) if match else None
    if status in _FINAL_STATUS:
        return ExchangeRefused(f"{exchange}: {_FINAL_STATUS[status]}; {way_out(exchange)}")
    if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded) or status in (418, 429):
        cause = "banned from it for a while" if status == 418 else "too many requests"
        return RateLimited(
            f"cannot reach {exchange}: {cause}; {way_out(exchange)}", is_ban=status == 418
        )
    if isinstance(error, ccxt.BadSymbol | ccxt.MarketClosed):
        return SymbolRefused(f"{exchange} has no such market (any more): {text[:200]}")
    # OperationFailed covers NetworkError, overload (-1008) and unknown states; a bare
    # ExchangeError is a body cut short, or an error CCXT does not know.
    if isinstance(error, ccxt.OperationFailed) or type(error) is ccxt.ExchangeError:
        if status is not None:
            return ExchangeUnreachable(f"cannot reach {exchange}: {_answered(status)}")
        return ExchangeUnreachable(f"cannot reach {exchange}: {_cause(error)}; {way_out(exchange)}")
    return ExchangeRefused(f"{exchange} refused: {text[:200]}")


def _answered(status: int) -> str:
    """Return what a status says; the page that comes with it is for browsers."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"it answered {status} {phrase}".rstrip()


def way_out(exchange: str) -> str:
    """Return what a user can do when an exchange cannot be used."""
    if exchange == SIMULATOR_ID:
        return "start one: uv run simulator"
    return "check the network, or work offline: --exchange simulator"


def _cause(error: BaseException) -> str:
    """Return why, in words where the reason is known; it may sit deep in the chain of causes."""
    texts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        texts.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    chain = " ".join(" / ".join(texts).split())
    for needle, cause in _CAUSES:
        if needle.casefold() in chain.casefold():
            return cause
    return " ".join(str(error).split())[:200]
