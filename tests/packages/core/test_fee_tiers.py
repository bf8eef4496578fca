"""Fee tiers: chosen by name or by volume, from the file of the code or from the user's own."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.fee_tiers import (
    PACKAGED_FILE,
    USER_FILE,
    FeeSchedule,
    find_fee_tier,
    load_fee_schedules,
)
from onetape.core.quirks import QUIRKS

OWN = {
    "okx": {
        "source": "own account",
        "currency": "USD",
        "tiers": [
            {"name": "regular", "volume": 0, "maker": 0.0008, "taker": 0.001},
            {"name": "vip1", "volume": 5_000_000, "maker": 0.00045, "taker": 0.0005},
        ],
    }
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_own_tiers(content: Any) -> None:
    """Write the user's file: a JSON document, or text as it is."""
    USER_FILE.parent.mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    USER_FILE.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("exchange", "chosen", "maker", "taker"),
    [
        ("binance", "vip0", 0.001, 0.001),
        ("binance", " VIP1", 0.0009, 0.001),
        ("binance", "0", 0.001, 0.001),
        ("binance", "999999.99", 0.001, 0.001),
        ("binance", "1000000", 0.0009, 0.001),
        ("binance", "5_000_000", 0.0008, 0.001),
        ("kraken", "49999", 0.0016, 0.0026),
        ("kraken", "50000", 0.0014, 0.0024),
        ("bitfinex", "1e12", 0.0, 0.001),
    ],
)
def test_a_tier_is_found_by_its_name_or_by_a_volume(
    exchange: str, chosen: str, maker: float, taker: float
) -> None:
    tier = find_fee_tier(exchange, chosen)
    assert (tier.maker, tier.taker) == (maker, taker)


@pytest.mark.parametrize(
    ("exchange", "chosen", "text"),
    [
        (
            "binance",
            "vip10",
            "fee_tier must be a tier of binance or a 30-day volume in USD, found 'vip10'; did you "
            "mean 'vip1'? (the tiers: vip0, vip1, vip2); write others into "
            "user/config/fee_tiers.json (docs/rules.md)",
        ),
        ("binance", "-1", "fee_tier must be a tier of binance or a 30-day volume in USD"),
        ("bitfinex", "inf", "fee_tier must be a tier of bitfinex or a 30-day volume in USD"),
        ("kraken", "nan", "fee_tier must be a tier of kraken or a 30-day volume in USD"),
        (
            "binance",
            "20000000",
            "fee_tier: the fees of binance from a volume of 20,000,000 USD on are not stored; set "
            "fee_rate and maker_fee_rate instead, or write the tiers into "
            "user/config/fee_tiers.json (docs/rules.md)",
        ),
        (
            "okx",
            "vip1",
            "fee_tier needs stored fee tiers, and there are none of okx (there are those of "
            "binance, simulator, kraken, bitstamp, bitfinex); set fee_rate and maker_fee_rate "
            "instead, or write the tiers into user/config/fee_tiers.json (docs/rules.md)",
        ),
    ],
)
def test_a_tier_that_is_not_stored_is_refused_with_the_tiers_that_are(
    exchange: str, chosen: str, text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_fee_tier(exchange, chosen)
    assert str(caught.value).startswith(text)
    assert caught.value.settings == ("account.fee_tier",)


def test_tiers_of_the_users_file_are_added() -> None:
    write_own_tiers(OWN)
    tier = find_fee_tier("okx", "vip1")
    assert (tier.maker, tier.taker) == (0.00045, 0.0005)
    assert find_fee_tier("binance", "vip1").maker == 0.0009


def test_an_exchange_of_the_users_file_replaces_that_of_the_code() -> None:
    write_own_tiers({"binance": OWN["okx"]})
    assert [tier.title for tier in load_fee_schedules()["binance"].tiers] == ["regular", "vip1"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "has no fee tiers: Input data was truncated"),
        (
            {"okx": {"source": "", "currency": "USD", "tiers": []}},
            "Expected `array` of length >= 1",
        ),
        (
            {"okx": {**OWN["okx"], "tiers": [{"volume": 0, "maker": -0.001, "taker": 0.1}]}},
            "Expected `float` >= 0.0 - at `$[...].tiers[0].maker`",
        ),
        (
            {"okx": {**OWN["okx"], "tiers": [{"volume": 0, "maker": 0, "taker": 0.1, "fee": 1}]}},
            "contains unknown field `fee`",
        ),
        (
            {"okx": {**OWN["okx"], "tiers": [*reversed(OWN["okx"]["tiers"])]}},
            "the tiers of okx must begin at rising volumes, found 5e+06, 0",
        ),
    ],
)
def test_a_users_file_that_cannot_be_used_is_named(content: Any, text: str) -> None:
    write_own_tiers(content)
    with pytest.raises(ConfigurationError) as caught:
        find_fee_tier("binance", "vip0")
    assert str(caught.value).startswith(str(USER_FILE))
    assert text in str(caught.value)


def test_volumes_of_the_code_rise_fees_fall_and_exchanges_are_known() -> None:
    schedules = msgspec.json.decode(PACKAGED_FILE.read_bytes(), type=dict[str, FeeSchedule])
    assert set(schedules) <= set(QUIRKS)
    for schedule in schedules.values():
        volumes = [tier.volume for tier in schedule.tiers]
        makers = [tier.maker for tier in schedule.tiers]
        takers = [tier.taker for tier in schedule.tiers]
        assert volumes == sorted(set(volumes))
        assert volumes[0] == 0
        assert schedule.volume_below > volumes[-1]
        assert makers == sorted(makers, reverse=True)
        assert takers == sorted(takers, reverse=True)
