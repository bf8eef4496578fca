"""Convert CCXT's exceptions to Onetape's errors: `ExchangeUnreachable` may pass, others not.

CCXT's classes mix temporary and permanent errors: HTTP 451 (blocked region) is an
ExchangeNotAvailable, error -1006 (unknown state) is no NetworkError, and a response that is cut off
is a plain ExchangeError. So the HTTP status decides, if there is one.
"""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeGuard, cast

import ccxt

from onetape.core.errors import ExchangeError, ExchangeRefused, ExchangeUnreachable
from onetape.core.printable import escape_unprintable
from onetape.core.symbols import SIMULATOR_ID

#: Meaning of HTTP statuses for a user; other 4xx: the exchange does not accept the request.
_MEANINGS: Final = {
    400: "it does not accept the request: check symbol, timeframe and range",
    401: "the key was refused",
    403: "access is forbidden from here",
    404: "it has nothing there: the market may be gone, or the address is wrong",
    405: "the address is wrong: a newer CCXT may have the right one",
    410: "the address is gone: a newer CCXT may have the right one",
    451: "it does not serve this region",
}
#: Client errors after which another attempt may succeed: a timeout, too early, and rate limits.
_PASSING_CLIENT_ERRORS: Final = frozenset({408, 418, 425, 429})
#: Client errors that can only be avoided with another location or exchange.
_ELSEWHERE: Final = frozenset({403, 451})
_LONGEST_MESSAGE: Final = 160
#: Keys under which exchanges put the message of an error, the best first.
_MESSAGE_KEYS: Final = (
    "message", "msg", "error_description", "error_details", "error_message", "errorMessage",
    "retMsg", "err-msg", "errors", "error", "detail", "label",
)  # fmt: skip
#: CCXT writes `binance GET https://... 451 Unavailable BODY` or `binance 429 Too Many BODY`; a
#: number in the body is no status.
_STATUS: Final = re.compile(r"\S+ (?:[A-Z]+ \S+ )?([45]\d\d) ")
#: Parts of the texts of network errors, and the cause that each means.
_CAUSES: Final = (
    ("Name or service not known", "its host name was not found"),
    ("Temporary failure in name resolution", "its host name was not found"),
    ("nodename nor servname", "its host name was not found"),
    ("getaddrinfo", "its host name was not found"),
    ("Connect call failed", "the connection was refused"),
    ("Connection refused", "the connection was refused"),
    ("Connection reset", "the connection was reset"),
    ("Network is unreachable", "there is no network"),
    ("certificate", "its certificate was not accepted (is this computer's clock right?)"),
    ("timed out", "it did not respond in time"),
    ("Timeout", "it did not respond in time"),
)


class RateLimited(ExchangeUnreachable):
    """The exchange refuses requests for a while: too many requests, or a ban."""

    def __init__(self, text: str, *, is_ban: bool) -> None:
        """Set the reason, and whether it is a ban, which further requests would make longer."""
        super().__init__(text)
        self.is_ban = is_ban


class SymbolRefused(ExchangeRefused):
    """The exchange does not have the market, or does not trade it any more."""


@dataclass(slots=True)
class HttpRefusal:
    """HTTP error of the last response to a read; CCXT's exceptions do not always contain it."""

    status: int | None = None
    """HTTP status, 400 or higher; None: no response was an error."""
    body: str = ""
    """Body of the response."""


@contextmanager
def translating_ccxt_errors(exchange: str, refusal: HttpRefusal | None = None) -> Generator[None]:
    """Raise ExchangeUnreachable or ExchangeRefused in place of each CCXT exception of the block.

    Args:
        exchange: Exchange id, for the error texts.
        refusal: Record into which the HTTP error of a response is written while the block runs;
            None: only the exception is used.
    """
    try:
        yield
    except ExchangeError:
        raise
    except ccxt.BaseError as error:
        raise _translate_error(exchange, error, refusal or HttpRefusal()) from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # CCXT parses without checks: a body of another type raises one of these errors.
        if refusal is not None and _is_final(refusal.status):
            raise ExchangeRefused(_format_refusal(exchange, refusal.status, refusal)) from error
        raise ExchangeUnreachable(
            f"{exchange} sent a response that could not be read ({type(error).__name__}: {error})"
        ) from error


def _translate_error(exchange: str, error: ccxt.BaseError, refusal: HttpRefusal) -> ExchangeError:
    """Return the project's error for an error of CCXT and the status of the refused request."""
    text = " ".join(str(error).split())
    match = _STATUS.match(text)
    status = int(match[1]) if match else refusal.status
    # CCXT's class for a bare status is a network error, also for a region that is not served.
    if match and status in _MEANINGS:
        return ExchangeRefused(_format_refusal(exchange, status, refusal))
    if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded) or status in (418, 429):
        cause = "banned from it for a while" if status == 418 else "too many requests"
        return RateLimited(
            f"cannot send requests to {exchange} now: {cause}; wait, and send fewer at once",
            is_ban=status == 418,
        )
    if isinstance(error, ccxt.BadSymbol | ccxt.MarketClosed):
        return SymbolRefused(f"{exchange} has no such market (any more): {text[:200]}")
    # OperationFailed covers NetworkError, overload (-1008) and unknown states; a bare
    # ExchangeError is a body cut short, or an error CCXT does not have: then the status decides.
    is_unknown = type(error) is ccxt.ExchangeError
    if isinstance(error, ccxt.OperationFailed) or (is_unknown and not _is_final(status)):
        if status is not None:
            return ExchangeUnreachable(f"cannot reach {exchange}: {_describe_status(status)}")
        return ExchangeUnreachable(
            f"cannot reach {exchange}: {_describe_cause(error)}; {suggest_remedy(exchange)}"
        )
    if _is_final(status):
        return ExchangeRefused(_format_refusal(exchange, status, refusal))
    return ExchangeRefused(f"{exchange} refused: {text[:200]}")


def _is_final(status: int | None) -> TypeGuard[int]:
    """Return whether an HTTP status means that another attempt will not help."""
    return status is not None and 400 <= status < 500 and status not in _PASSING_CLIENT_ERRORS


def _format_refusal(exchange: str, status: int, refusal: HttpRefusal) -> str:
    """Return the message of an error response, if it has one, and the meaning of its status."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    message = _parse_message(refusal.body)
    own = f" ({message})" if message else ""
    meaning = _MEANINGS.get(status, "it does not accept the request")
    elsewhere = ""
    if status in _ELSEWHERE and exchange != SIMULATOR_ID:
        elsewhere = "; choose another --exchange, or work offline: --exchange simulator"
    return f"{exchange} responded with {status} {phrase}".rstrip() + f"{own}: {meaning}{elsewhere}"


def _parse_message(body: str) -> str:
    """Return the message of an error, one line, or nothing where the body has none."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return ""
    return escape_unprintable(" ".join(_find_message(document).split()))[:_LONGEST_MESSAGE]


def _find_message(document: Any) -> str:
    """Return the message in an error response, searched in nested fields; empty: none."""
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        values = cast("list[Any]", document)
        return _find_message(values[0]) if values else ""
    if isinstance(document, dict):
        fields = cast("dict[str, Any]", document)
        found = (_find_message(fields.get(key)) for key in _MESSAGE_KEYS)
        return next((text for text in found if text), "")
    return ""


def _describe_status(status: int) -> str:
    """Return the text of a status; the body is left out, because it is often a page of HTML."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"it responded with {status} {phrase}".rstrip()


def suggest_remedy(exchange: str) -> str:
    """Return the remedy for an exchange that cannot be used."""
    if exchange == SIMULATOR_ID:
        return "start one: uv run simulator"
    return "check the network, or work offline: --exchange simulator"


def _describe_cause(error: BaseException) -> str:
    return find_known_cause(error) or " ".join(str(error).split())[:200]


def find_known_cause(error: BaseException) -> str | None:
    """Return the reason why an exchange cannot be reached, as text; None: it is not known.

    Args:
        error: Error of CCXT; the chain of its causes is searched too.
    """
    texts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        texts.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    chain = " ".join(" / ".join(texts).split())
    for needle, cause in _CAUSES:
        if needle.casefold() in chain.casefold():
            return cause
    return None
