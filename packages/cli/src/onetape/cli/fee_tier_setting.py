"""Fees of an account by its setting `fee_tier`, which names a fee tier of the exchange."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from onetape.core.errors import UsageError
from onetape.core.fee_tiers import find_fee_tier
from onetape.core.setting import DeclaredSetting

_TIER: Final = "account.fee_tier"
_FEES: Final = ("account.fee_rate", "account.maker_fee_rate")


def collect_fee_rates(
    values: Mapping[str, Any], declared: Mapping[str, DeclaredSetting], given: Collection[str]
) -> dict[str, float]:
    """Return the fees of the fee tier that the settings of a program name, by dotted key.

    Args:
        values: Converted values by dotted key; `account.fee_tier` is one of them.
        declared: Settings of the program by dotted key.
        given: Keys of settings that have another value than the default of a file.

    Raises:
        UsageError: the exchange has no such tier, or a fee is given in addition.
        ConfigurationError: the user's file of fee tiers cannot be used.
    """
    tier: str = values[_TIER]
    for key in _FEES:
        if key in given:
            raise UsageError(
                f"{declared[key].name} must be left out with fee_tier {tier}, which states both "
                "fees",
                setting=(key, _TIER),
            )
    found = find_fee_tier(values.get("exchange", declared["exchange"].default), tier)
    return dict(zip(_FEES, (found.taker, found.maker), strict=True))
