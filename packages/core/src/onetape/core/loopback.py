"""Distinguishes requests of foreign web pages to a local server from requests of programs.

A browser lets any web page send requests to 127.0.0.1. Two headers that no page can choose show
them apart: Host holds the name that the browser looked up, which after DNS rebinding is a foreign
name for a loopback address; Origin holds the page that a request comes from.
"""

import ipaddress
import re

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:\[\]/@]+)(?::(?P<port>[0-9]{1,5}))?")
_HTTP_PORT = 80


def is_loopback(host: str) -> bool:
    """Return whether an address or name can be reached from this machine only."""
    address = _parse_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_own_host(header: str | None, port: int, *, bound: str = "127.0.0.1") -> bool:
    """Return whether a Host header names this server.

    Args:
        header: Value of the Host header; None if the request has none.
        port: Port that the server listens on.
        bound: Address that the server listens on. A loopback address accepts loopback names and
            addresses with this port only. Any other address accepts every IP address and every name
            without a dot, such as the name of a container: a foreign web page can have neither. The
            port may differ there, because containers map ports.
    """
    found = _HOST.fullmatch((header or "").lower())
    if found is None:
        return False
    name = found["name"].strip("[]")
    if is_loopback(bound):
        return is_loopback(name) and int(found["port"] or _HTTP_PORT) == port
    return _parse_address(name) is not None or "." not in name or name == bound.lower()


def is_own_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a request comes from a page of this server, or from no page at all.

    Args:
        origin: Value of the Origin header; None where the request has none, as programs send it.
        host: Value of the Host header, which `is_own_host` has accepted.
    """
    return origin is None or origin.lower() == f"http://{(host or '').lower()}"


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
