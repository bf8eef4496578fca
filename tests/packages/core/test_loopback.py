"""Hosts and origins of requests to a server on this machine."""

import pytest

from onetape.core.loopback import is_loopback, is_own_host, is_own_origin


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8790", "localhost:8790", "LocalHost:8790", "127.8.8.8:8790", "[::1]:8790"]
)
def test_loopback_names_with_the_servers_port_are_hosts_of_the_server(host: str) -> None:
    assert is_own_host(host, 8790)
    assert is_own_host(host, 8790, bound="::1")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:8790",
        "evil.example",
        "127.0.0.1.evil.example:8790",
        "localhost.evil.example:8790",
        "evil:8790",
        "10.0.0.1:8790",
        "0.0.0.0:8790",
        "[::]:8790",
        "127.0.0.1",
        "127.0.0.1:8791",
        "127.0.0.1:879",
        "127.0.0.1:8790 ",
        "127.0.0.1:8790\n",
        "127.0.0.1:8790, evil.example",
        "user@127.0.0.1:8790",
        "::1:8790",
        "http://127.0.0.1:8790",
    ],
)
def test_every_other_host_is_foreign_to_a_server_on_loopback(host: str | None) -> None:
    assert not is_own_host(host, 8790)


def test_port_80_may_be_left_out() -> None:
    assert is_own_host("127.0.0.1", 80)
    assert not is_own_host("127.0.0.1", 8790)


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("simulator:8790", True),
        ("simulator:9000", True),
        ("localhost:8790", True),
        ("10.1.2.3:8790", True),
        ("[fd00::1]:8790", True),
        ("evil.example:8790", False),
        ("evil.:8790", False),
        (None, False),
    ],
)
def test_a_server_for_other_machines_accepts_addresses_and_names_without_a_dot(
    host: str | None, is_own: bool
) -> None:
    assert is_own_host(host, 8790, bound="0.0.0.0") is is_own  # noqa: S104 - nothing listens


def test_a_server_accepts_the_name_that_it_was_bound_to() -> None:
    assert is_own_host("sim.lan:8790", 8790, bound="sim.lan")
    assert not is_own_host("other.lan:8790", 8790, bound="sim.lan")


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        (None, True),
        ("http://127.0.0.1:8790", True),
        ("HTTP://127.0.0.1:8790", True),
        ("null", False),
        ("", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8791", False),
        ("http://localhost:8790", False),
        ("https://127.0.0.1:8790", False),
        ("http://127.0.0.1:8790.evil.example", False),
        ("file://", False),
    ],
)
def test_only_pages_of_the_server_itself_may_send_requests(
    origin: str | None, is_own: bool
) -> None:
    assert is_own_origin(origin, "127.0.0.1:8790") is is_own


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.com", ""])  # noqa: S104
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)
