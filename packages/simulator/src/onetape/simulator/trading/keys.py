"""API keys of the account: permissions, and the check of a request's signature and timestamp.

A signed request has a timestamp and an HMAC-SHA256 of its parameters with the secret of the key.
The exchange refuses a request that is older than its `recvWindow`.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from onetape.core.clock import Clock
from onetape.simulator.market.clock import get_clock_speed
from onetape.simulator.server import error_replies
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.params import read_integer, require

_KEY_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"
#: Age at which a request without `recvWindow` is refused, milliseconds.
DEFAULT_WINDOW_MS: Final = 5_000
#: Largest `recvWindow`, milliseconds.
MOST_WINDOW_MS: Final = 60_000
#: Time by which a timestamp may be ahead of the exchange's clock, milliseconds.
AHEAD_MS: Final = 1_000
#: Time by which a timestamp may be ahead with a stepped clock, milliseconds: the clock of a client
#: goes on while the market's stands still.
STANDING_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of the account with its permissions."""

    key: str
    """The public key, which requests carry in a header."""
    secret: str
    """The secret that signs requests."""
    reading: bool = True
    """Whether the key may read the account; without this right it may do nothing."""
    trading: bool = True
    """Whether the key may trade on the spot market."""
    withdrawals: bool = False
    """Value of `enableWithdrawals` in `apiRestrictions`; no request withdraws anything."""
    internal_transfer: bool = False
    """Value of `enableInternalTransfer` in `apiRestrictions`."""
    universal_transfer: bool = False
    """Value of `permitsUniversalTransfer` in `apiRestrictions`."""
    ip_restricted: bool = False
    """Value of `ipRestrict` in `apiRestrictions`; requests are accepted from every address in any
    case."""


#: Keys of every simulator, not secret: each client that reaches the simulator may trade.
DEFAULT_KEYS: Final = (
    ApiKey("simulator", "simulator"),
    ApiKey("reader", "reader", trading=False),
    ApiKey("withdrawer", "withdrawer", withdrawals=True),
)


class KeyRing:
    """The API keys of the account; checks key, permissions, signature and time of a request."""

    def __init__(
        self,
        keys: tuple[ApiKey, ...],
        clock: Clock,
        skew_ms: Callable[[], int] = int,
        *,
        strict: bool = False,
    ) -> None:
        """Initialise with the keys of the account.

        Args:
            keys: The keys at the start.
            clock: Market time.
            skew_ms: Returns the present error of the exchange's clock (a fault), milliseconds.
            strict: Whether old timestamps are refused with a stepped clock too.
        """
        self._strict = strict
        self._keys = {key.key: key for key in keys}
        self._clock = clock
        self._skew_ms = skew_ms

    def get_permitted_key(self, name: str | None, *, trading: bool = False) -> ApiKey:
        """Return the key of a request.

        Args:
            name: The public key that the request carries; None: none.
            trading: Whether the request needs the right to trade.

        Raises:
            Refusal: -2014 for an invalid key, -2015 for an unknown key or one without the
                permission.
        """
        if name is None or not re.fullmatch(_KEY_PATTERN, name):
            raise order_refusals.make_invalid_key_format_refusal()
        key = self._keys.get(name)
        if key is None or not key.reading or (trading and not key.trading):
            raise order_refusals.make_unauthorized_key_refusal()
        return key

    def get_keys(self) -> list[ApiKey]:
        """Return all keys of the account."""
        return list(self._keys.values())

    def get_key(self, name: str) -> ApiKey:
        """Return a key.

        Raises:
            KeyError: there is no such key.
        """
        return self._keys[name]

    def add(self, key: ApiKey) -> None:
        """Add a key to the account, or replace the key of the same name."""
        self._keys[key.key] = key

    def revoke(self, name: str) -> None:
        """Remove a key; requests with it are refused from now on.

        Raises:
            KeyError: there is no such key.
        """
        del self._keys[name]

    def change(self, name: str, **changes: bool | str) -> ApiKey:
        """Change the rights or the secret of a key, and return the changed key.

        Args:
            name: The public key.
            **changes: Fields of `ApiKey` with their new values.

        Raises:
            KeyError: there is no such key.
            TypeError: a key has no such right.
        """
        changed = self._keys[name] = replace(self._keys[name], **changes)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - names are checked by replace
        return changed

    def check(self, key: ApiKey, params: Mapping[str, str], signed_text: str) -> None:
        """Check timestamp and signature of a request.

        Args:
            key: API key of the request.
            params: All parameters of the request.
            signed_text: Text of which the client has made the signature.

        Raises:
            Refusal: -1102, -1021, -1131 or -1022.
        """
        require(params, "timestamp")
        require(params, "signature")
        self._check_time(params)
        digest = hmac.new(key.secret.encode(), signed_text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(digest.encode(), params["signature"].lower().encode()):
            raise order_refusals.make_invalid_signature_refusal()

    def _check_time(self, params: Mapping[str, str]) -> None:
        """Check the timestamp; with an accelerated clock each allowance is longer by its speed."""
        window = read_integer(params, "recvWindow")
        sent = read_integer(params, "timestamp")
        if sent is None:
            raise error_replies.make_missing_parameter_refusal("timestamp")
        window = DEFAULT_WINDOW_MS if window is None else window
        if window > MOST_WINDOW_MS:
            raise order_refusals.make_window_too_long_refusal()
        now_ms = self._clock.now_ms() + self._skew_ms()
        speed = get_clock_speed(self._clock) or (1.0 if self._strict else 0.0)
        ahead = STANDING_MS if speed == 0 else AHEAD_MS * max(speed, 1.0)
        if sent > now_ms + ahead:
            raise order_refusals.make_future_timestamp_refusal(AHEAD_MS)
        if speed and now_ms - sent > window * max(speed, 1.0):
            raise order_refusals.make_outside_window_refusal()
