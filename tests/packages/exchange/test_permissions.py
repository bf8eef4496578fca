"""Rights of a key as each exchange states them, and which keys are refused."""

from typing import Any

import pytest

from onetape.core.errors import SafetyRefusal
from onetape.exchange.permissions import (
    KeyPermissions,
    check_permissions,
    parse_account_id,
    parse_permissions,
)

BINANCE = {
    "ipRestrict": True, "enableReading": True, "enableSpotAndMarginTrading": True,
    "enableWithdrawals": False, "enableInternalTransfer": False, "permitsUniversalTransfer": False,
}  # fmt: skip
STATEMENTS: list[tuple[str, Any, KeyPermissions]] = [
    ("binance", BINANCE, KeyPermissions(True, False, True)),
    ("simulator", {**BINANCE, "ipRestrict": False}, KeyPermissions(True, False, False)),
    (
        "binance",
        {**BINANCE, "enableWithdrawals": True},
        KeyPermissions(True, True, True, ("enableWithdrawals",)),
    ),
    (
        "binance",
        {**BINANCE, "permitsUniversalTransfer": True},
        KeyPermissions(True, True, True, ("permitsUniversalTransfer",)),
    ),
    (
        "binance",
        {**BINANCE, "enableSpotAndMarginTrading": False},
        KeyPermissions(False, False, True),
    ),
    ("binance", {"enableSpotAndMarginTrading": True}, KeyPermissions(True, None)),
    ("binance", {**BINANCE, "enableWithdrawals": "no"}, KeyPermissions(True, None, True)),
    ("binance", "<html>", KeyPermissions(None, None)),
    ("okx", {"data": [{"perm": "read_only,trade"}]}, KeyPermissions(True, False)),
    ("okx", {"data": [{"perm": "read_only,withdraw,trade"}]}, KeyPermissions(True, True)),
    ("okx", {"data": []}, KeyPermissions(None, None)),
    (
        "bybit",
        {"result": {"readOnly": 0, "ips": ["*"], "permissions": {"Spot": ["SpotTrade"]}}},
        KeyPermissions(True, False, False),
    ),
    (
        "bybit",
        {
            "result": {
                "readOnly": 1,
                "ips": ["1.2.3.4"],
                "permissions": {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer"]},
            }
        },
        KeyPermissions(False, True, True),
    ),
    ("bybit", {"result": None}, KeyPermissions(None, None)),
    ("coinbase", {"can_trade": True, "can_transfer": False}, KeyPermissions(True, False)),
    ("coinbase", None, KeyPermissions(None, None)),
    ("kraken", {"anything": True}, KeyPermissions(None, None)),
]


@pytest.mark.parametrize(("exchange", "document", "expected"), STATEMENTS)
def test_permissions_are_read_from_the_response_and_never_guessed(
    exchange: str, document: Any, expected: KeyPermissions
) -> None:
    assert parse_permissions(exchange, document) == expected


def test_a_key_that_may_withdraw_is_refused_whatever_else_it_may() -> None:
    for trade in (True, False, None):
        with pytest.raises(SafetyRefusal, match="may move money out of binance"):
            check_permissions("binance", KeyPermissions(trade, True), is_unknown_allowed=True)


def test_the_rights_to_remove_from_a_key_are_named() -> None:
    rights = {**BINANCE, "enableWithdrawals": True, "enableInternalTransfer": True}
    permissions = parse_permissions("binance", rights)
    with pytest.raises(SafetyRefusal, match=r"\(enableWithdrawals, enableInternalTransfer\): "):
        check_permissions("binance", permissions, is_unknown_allowed=False)


def test_a_key_that_may_not_trade_is_named() -> None:
    with pytest.raises(SafetyRefusal, match="may not trade on binance"):
        check_permissions("binance", KeyPermissions(False, False), is_unknown_allowed=True)


@pytest.mark.parametrize("trade", [True, None])
def test_a_key_with_unknown_rights_needs_consent(trade: bool | None) -> None:
    permissions = KeyPermissions(trade, None)
    with pytest.raises(SafetyRefusal, match="does not state what the key may do"):
        check_permissions("kraken", permissions, is_unknown_allowed=False)
    [note] = check_permissions("kraken", permissions, is_unknown_allowed=True)
    assert "cannot withdraw" in note


def test_a_key_without_an_address_list_prints_a_note() -> None:
    sound = KeyPermissions(True, False, True)
    assert check_permissions("binance", sound, is_unknown_allowed=False) == ()
    [note] = check_permissions(
        "binance", KeyPermissions(True, False, False), is_unknown_allowed=False
    )
    assert "every internet address" in note


@pytest.mark.parametrize(
    ("exchange", "document", "account"),
    [
        ("okx", {"data": [{"uid": "447", "perm": "trade"}]}, "447"),
        ("bybit", {"result": {"userID": 24617703}}, "24617703"),
        ("coinbase", {"portfolio_uuid": "1bc9"}, "1bc9"),
        ("okx", {"data": []}, None),
        ("bybit", {"result": None}, None),
        ("coinbase", "<html>", None),
        ("kraken", {"uid": "1"}, None),
    ],
)
def test_the_account_of_a_key_is_read_if_the_exchange_states_it(
    exchange: str, document: object, account: str | None
) -> None:
    assert parse_account_id(exchange, document) == account
