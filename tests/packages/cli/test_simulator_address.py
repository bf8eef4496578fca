"""The address of a simulator, checked before any request is sent to it."""

import pytest

from onetape.cli.simulator_address import check_simulator_url
from onetape.core.errors import UsageError


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://h:0",
        "http://h:x",
        "127.0.0.1:8790",
        "https://127.0.0.1:8790",
        "ftp://example.org",
        "http://",
        "http://:8790",
        "",
    ],
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"^simulator_url .* is not an address"):
        check_simulator_url(url)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:8790", "http://[::1]:8790", "http://host"])
def test_a_valid_address_is_accepted(url: str | None) -> None:
    check_simulator_url(url)
