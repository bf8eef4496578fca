"""Check the address of a simulator, the setting `simulator_url`, before a request is sent."""

from urllib.parse import urlsplit

from onetape.core.errors import UsageError


def check_simulator_url(url: str | None) -> None:
    """Refuse an address that is not `http://HOST` or `http://HOST:PORT`; None: no address is set.

    Whether a simulator listens there is not checked.

    Raises:
        UsageError: the scheme is not http, there is no host, or the port is invalid.
    """
    if url is not None and not _is_http_address(url):
        raise UsageError(
            f"simulator_url {url!r} is not an address; it looks like http://127.0.0.1:8790",
            setting="simulator_url",
        )


def _is_http_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
