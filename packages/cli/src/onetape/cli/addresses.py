"""Addresses that a user gives."""

from urllib.parse import urlsplit

from onetape.core.errors import UsageError


def check_simulator_url(url: str | None) -> None:
    """Refuse an invalid address; None: no address was given.

    Raises:
        UsageError: the address cannot be read, or its port is invalid.
    """
    try:
        usable = url is None or urlsplit(url).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"simulator_url {url!r} is not an address; it looks like http://127.0.0.1:8790",
            setting="simulator_url",
        )
