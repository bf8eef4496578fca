"""Remove keys, secrets and signatures of a CCXT client from output, logs and errors.

CCXT writes requests with their key and signature into its log at level DEBUG, prints them in
verbose mode, and puts the whole signed address of a request into the text of its errors.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

#: Parts of a word that is an address, whose query may contain a signature, or a signature alone.
_SECRET: Final = ("://", "signature=")
#: A disabled logger, whatever the levels of other loggers are.
_SILENT: Final = logging.getLogger("onetape.private_requests")
_SILENT.disabled = True


def redact_client(client: Any) -> None:
    """Change a client so that no secret is in its output, its log or its errors.

    Args:
        client: Client of CCXT's asynchronous classes. Call this before any other method of the
            client is replaced.
    """
    fetch: Callable[..., Awaitable[Any]] = client.fetch

    @functools.wraps(fetch)
    async def fetched(*args: Any, **named: Any) -> Any:
        try:
            return await fetch(*args, **named)
        except Exception as error:
            redact_error(error)
            raise

    client.verbose = False
    client.logger = _SILENT
    client.log = _write_nothing
    client.fetch = fetched


def redact_error(error: BaseException) -> None:
    """Replace addresses in the texts of an error and of the errors that caused it, in place.

    A cause whose text cannot be changed is removed.
    """
    link: BaseException | None = error
    while link is not None:
        link.args = tuple(
            redact(argument) if isinstance(argument, str) else argument for argument in link.args
        )
        for name in ("__cause__", "__context__"):
            cause = getattr(link, name)
            if cause is not None and _has_hidden_address(cause):
                setattr(link, name, None)
        link = link.__cause__ or link.__context__


def redact(text: str) -> str:
    """Return a text in which `(address)` stands for each address and signature."""
    # Word by word, because a pattern for the beginning of a word takes quadratic time.
    return " ".join("(address)" if _is_secret(word) else word for word in text.split())


def _is_secret(text: str) -> bool:
    lower = text.lower()
    return any(part in lower for part in _SECRET)


def _has_hidden_address(error: BaseException) -> bool:
    """Return whether the text of an error has an address that is not in its arguments."""
    plain = tuple(
        redact(argument) if isinstance(argument, str) else argument for argument in error.args
    )
    return _is_secret(str(error)) and plain == error.args


def _write_nothing(*args: object) -> None:
    del args
