"""Declared settings: their keys, their order, and the check of their bounds."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest

from onetape.core.errors import UsageError
from onetape.core.setting import (
    DeclaredStruct,
    Section,
    Setting,
    build_settings_tree,
    collect_settings,
)

MOST = 1_000_000_000


class Exits(DeclaredStruct, frozen=True, kw_only=True):
    section: ClassVar[str] = "exits"
    stop: Annotated[float | None, Setting("Stop.", gt=0, lt=1, hint="0.05 is 5 %")] = None
    bars: Annotated[int | None, Setting("Bars.", ge=1, plausible_max=MOST)] = None


class Account(DeclaredStruct, frozen=True, kw_only=True):
    section: ClassVar[str] = "account"
    cash: Annotated[float, Setting("Cash.", gt=0)] = 10.0
    kind: Annotated[Literal["quote", "base"], Setting("Kind.")] = "quote"
    exits: Annotated[Exits, Section(key="exits")] = Exits()
    share: Annotated[float, Setting("Share.", ge=0, le=1)] = 0.5
    steps: int = 3


class Program(DeclaredStruct, frozen=True, kw_only=True):
    from_: Annotated[str | None, Setting("Start.")] = msgspec.field(default=None, name="from")
    balance: Annotated[Decimal | None, Setting("Cash.", key="account.cash", gt=0)] = None
    account: Account = Account()


def test_keys_follow_the_sections_and_an_outer_setting_hides_an_inner_one() -> None:
    declared = collect_settings(Program)
    assert list(declared) == [
        "from",
        "account.cash",
        "account.kind",
        "exits.stop",
        "exits.bars",
        "account.share",
    ]
    assert declared["account.cash"].path == ("balance",)
    assert declared["exits.stop"].path == ("account", "exits", "stop")
    assert declared["exits.stop"].is_optional
    assert declared["account.kind"].choices == ("quote", "base")


def test_the_tree_of_settings_has_exactly_the_keys_of_a_settings_file() -> None:
    program = Program(from_="2024", balance=Decimal(7), account=Account(exits=Exits(stop=0.5)))
    assert build_settings_tree(program) == {
        "from": "2024",
        "account": {"cash": Decimal(7), "kind": "quote", "share": 0.5},
        "exits": {"stop": 0.5, "bars": None},
    }


@pytest.mark.parametrize(
    ("make", "given", "key", "text"),
    [
        (Exits, {"stop": 1.0}, "exits.stop", "stop must be above 0 and under 1 (0.05 is 5 %), "),
        (Exits, {"stop": float("nan")}, "exits.stop", "stop must be above 0 and under 1"),
        (Exits, {"bars": 0}, "exits.bars", "bars must be 1 or more, found 0"),
        (Exits, {"bars": MOST + 1}, "exits.bars", "bars must be at most 1,000,000,000, found "),
        (Account, {"cash": float("inf")}, "account.cash", "cash must be above 0, found inf"),
        (Account, {"share": 1.5}, "account.share", "share must be 0 or more and at most 1, found "),
        (
            Account,
            {"kind": "qoute"},
            "account.kind",
            "kind must be one of quote, base, found 'qoute'; did you mean 'quote'?",
        ),
        (Program, {"balance": Decimal("NaN")}, "account.cash", "cash must be above 0, found NaN"),
        (Program, {"balance": Decimal("sNaN")}, "account.cash", "cash must be above 0, found sNaN"),
    ],
)
def test_a_value_outside_its_bounds_is_refused_with_its_key(
    make: Any, given: dict[str, Any], key: str, text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make(**given)
    assert str(caught.value).startswith(text)
    assert caught.value.settings == (key,)


def test_values_at_their_bounds_are_accepted() -> None:
    assert Account(share=0.0).share == 0.0
    assert Account(share=1.0).share == 1.0
    assert Exits(bars=MOST).bars == MOST
    assert Program(balance=Decimal("0.00000001")).balance
