"""Keeps keys, secrets and signatures of a CCXT client out of output, logs and errors.

CCXT writes requests with their key and signature into its log at level DEBUG, prints them in
verbose mode, and puts the whole signed address of a request into the text of its errors.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

#: Marks of a word that is an address, whose query may hold a signature, or a signature alone.
_SECRET: Final = ("://", "signature=")
#: A logger without output, whatever the levels of other loggers are.
_SILENT: Final = logging.getLogger("onetape.private_requests")
_SILENT.disabled = True


def redact_client(client: Any) -> None:
    """Make a client write and raise no secret, whatever its modes are.

    Args:
        client: Client of CCXT's asynchronous classes; before anything else is put into its
            places.
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
    """Take addresses out of the text of an error and of the errors that caused it, in place."""
    link: BaseException | None = error
    while link is not None:
        link.args = tuple(redact(one) if isinstance(one, str) else one for one in link.args)
        for name in ("__cause__", "__context__"):
            cause = getattr(link, name)
            if cause is not None and _is_telling(cause):
                setattr(link, name, None)
        link = link.__cause__ or link.__context__


def redact(text: str) -> str:
    """Return a text in which `(address)` stands for each address and signature."""
    # Word by word: a pattern that looks for the beginning of a word takes the square of its length.
    return " ".join("(address)" if _is_secret(word) else word for word in text.split())


def _is_secret(text: str) -> bool:
    lower = text.lower()
    return any(part in lower for part in _SECRET)


def _is_telling(error: BaseException) -> bool:
    """Return whether an error has an address in its text that is no part of its arguments."""
    plain = tuple(redact(one) if isinstance(one, str) else one for one in error.args)
    return _is_secret(str(error)) and plain == error.args


def _write_nothing(*args: object) -> None:
    del args
