"""Parse the rights of an API key from the exchange's response, and refuse a dangerous key."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from msgspec import Struct

from onetape.core.errors import ExchangeRefused, SafetyRefusal
from onetape.core.symbols import SIMULATOR_ID


class KeyMayNotTrade(SafetyRefusal):
    """The key may not place orders."""


class KeyNotAccepted(ExchangeRefused):
    """The exchange does not accept the key: deleted, or not valid for the request or address."""


class KeyPermissions(Struct, frozen=True):
    """Rights of an API key; None: the exchange does not state the right."""

    may_trade: bool | None
    """Whether the API key may place spot orders."""
    may_withdraw: bool | None
    """Whether the API key may move money out of the account."""
    is_address_bound: bool | None = None
    """Whether the API key works only from stated internet addresses."""
    withdraw_rights: tuple[str, ...] = ()
    """The exchange's names of the key's rights that move money, if it has several."""


#: Method of CCXT that requests the rights of a key, by exchange.
PERMISSION_CALLS: Final[Mapping[str, str]] = {
    "binance": "sapi_get_account_apirestrictions",
    "okx": "private_get_account_config",
    "bybit": "private_get_v5_user_query_api",
    "coinbase": "v3_private_get_brokerage_key_permissions",
}
#: Keys that lead to the exchange's own id of the account in the response to `PERMISSION_CALLS`.
_ACCOUNT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "okx": ("data", "uid"),
    "bybit": ("result", "userID"),
    "coinbase": ("portfolio_uuid",),
}
#: Exchanges that state the account of a key. On others, two traders on one account are not noticed.
ACCOUNT_EXCHANGES: Final = ("binance", *_ACCOUNT_FIELDS)
#: Binance's names of rights that move money away from the account.
_BINANCE_WITHDRAWS: Final = (
    "enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer",
)  # fmt: skip


def parse_permissions(exchange: str, document: object) -> KeyPermissions:
    """Return the permissions of a key; unknown if the document has another layout.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        document: The response to the exchange's call of `PERMISSION_CALLS`.
    """
    name = "binance" if exchange == SIMULATOR_ID else exchange
    fields = _get_fields(document)
    if name == "binance":
        rights = [_get_flag(fields, right) for right in _BINANCE_WITHDRAWS]
        # A response may lack rights that Binance added later, but never that of withdrawals.
        known = rights if rights[0] is not None else []
        return KeyPermissions(
            _get_flag(fields, "enableSpotAndMarginTrading"),
            _combine_flags(right for right in known if right is not None),
            _get_flag(fields, "ipRestrict"),
            tuple(right for right in _BINANCE_WITHDRAWS if _get_flag(fields, right)),
        )
    if name == "okx":
        rows = fields.get("data")
        listed = cast("list[object]", rows) if isinstance(rows, list) else []
        return _parse_right_list(_get_fields(listed[0] if listed else None).get("perm"))
    if name == "bybit":
        return _parse_bybit(_get_fields(fields.get("result")))
    if name == "coinbase":
        return KeyPermissions(_get_flag(fields, "can_trade"), _get_flag(fields, "can_transfer"))
    return KeyPermissions(None, None)


def parse_account_id(exchange: str, document: object) -> str | None:
    """Return the exchange's own id of the account; None: the response does not have it.

    Args:
        exchange: CCXT exchange id.
        document: The response to the exchange's call of `PERMISSION_CALLS`.
    """
    value = document
    for name in _ACCOUNT_FIELDS.get(exchange, ()):
        value = _get_fields(value).get(name)
        if isinstance(value, list):
            rows = cast("list[object]", value)
            value = rows[0] if rows else None
    return str(value) if isinstance(value, (str, int)) and str(value) else None


def check_permissions(
    exchange: str, permissions: KeyPermissions, *, is_unknown_allowed: bool
) -> tuple[str, ...]:
    """Refuse a key that may withdraw or may not trade; return warnings, one sentence each.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        permissions: Permissions of the key.
        is_unknown_allowed: Whether a key whose rights the exchange does not state is accepted, as
            on test networks.

    Raises:
        SafetyRefusal: the key may withdraw, or its rights are not known; names the remedy.
        KeyMayNotTrade: the key may not trade; names the remedy.
    """
    if permissions.may_withdraw:
        rights = ", ".join(permissions.withdraw_rights)
        named = f" ({rights})" if rights else ""
        raise SafetyRefusal(
            f"the key may move money out of {exchange}{named}: "
            "a thief of the key can take everything; make one that may trade on spot markets and "
            "nothing else, and delete this one"
        )
    if permissions.may_trade is False:
        raise KeyMayNotTrade(
            f"the key may not trade on {exchange}: "
            "allow spot trading for it there, and no withdrawals"
        )
    is_unknown = None in (permissions.may_trade, permissions.may_withdraw)
    if is_unknown and not is_unknown_allowed:
        raise SafetyRefusal(
            f"{exchange} does not state what the key may do: make sure yourself that it cannot "
            "withdraw, then add --untested-exchange"
        )
    notes: list[str] = []
    if is_unknown:
        notes.append(f"{exchange} does not state what the key may do; see that it cannot withdraw")
    if permissions.is_address_bound is False:
        notes.append("the key works from every internet address; bind it to that of this computer")
    return tuple(notes)


def _parse_right_list(value: object) -> KeyPermissions:
    if not isinstance(value, str) or not value:
        return KeyPermissions(None, None)
    rights = {right.strip() for right in value.split(",")}
    return KeyPermissions("trade" in rights, "withdraw" in rights)


def _parse_bybit(result: Mapping[str, Any]) -> KeyPermissions:
    """Return the rights in Bybit's description of a key."""
    if not isinstance(result.get("permissions"), dict):
        return KeyPermissions(None, None)
    rights = _get_fields(result["permissions"])
    wallet: Any = rights.get("Wallet")
    may_trade = "SpotTrade" in (rights.get("Spot") or []) and result.get("readOnly") in (0, "0")
    addresses: Any = result.get("ips")
    is_bound = None if not isinstance(addresses, list) else "*" not in addresses
    return KeyPermissions(may_trade, bool(wallet), is_bound)


def _get_fields(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _get_flag(fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    return value if isinstance(value, bool) else None


def _combine_flags(values: Iterable[bool]) -> bool | None:
    found = list(values)
    return any(found) if found else None
