"""`trader reconcile`: lists differences between the database and the exchange, stores answers.

A difference, such as missing coins, stops entries in its symbol until a person has answered what to
do about it. The running trader carries the answer out.
"""

import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from onetape.cli import options
from onetape.core.errors import DataError, UsageError
from trader.commands.account_selection import (
    CONFIG,
    check_account_exists,
    normalize_account_name,
)

if TYPE_CHECKING:
    from onetape.store.live_accounts import Answer, StoredDifference

ACCOUNT = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Name of the account.  [default: all]"),
]
ADOPT = Annotated[
    int | None,
    typer.Option(
        "--adopt",
        metavar="NUMBER",
        help="For missing coins: the position becomes what is left at the exchange. For another "
        "copy that was stopped, or older orders: they are taken over. For lost executions: what "
        "the entry has bought becomes the position.",
    ),
]
FORGET = Annotated[
    int | None,
    typer.Option(
        "--forget",
        metavar="NUMBER",
        help="For missing coins, lost executions, or a market that is not listed: there is no "
        "position any more.",
    ),
]
PRICE = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="PRICE",
        help="With --forget of a market that is not listed: what each coin brought, in the quote "
        "currency; 0: nothing.  [default: the last stored price]",
    ),
]
KEEP = Annotated[
    int | None,
    typer.Option(
        "--keep",
        metavar="NUMBER",
        help="For orders or fills of others, or older orders: leave them alone, and allow entries "
        "again. For lost executions: the coins stay in the account and are never sold.",
    ),
]
#: Effect of each kind of difference, and the answers to it, for output.
_MEANINGS: Final = {
    "missing coins": "nothing is traded in this symbol; answer --adopt or --forget",
    "other copy": "no entries and no exits in this symbol; stop the other copy, then answer "
    "--adopt: its orders are taken over",
    "older order": "no entries in this symbol; answer --adopt where this account's orders of that "
    "time are to be taken over with their coins, or --keep where they are to be left alone",
    "lost executions": "no entries in this symbol; answer --adopt: what was bought, less 1 % for "
    "fees, is the position and gets its stop, at the price that the order was meant for; --forget: "
    "its coins are gone; --keep: its coins stay in the account and are never sold. After --forget "
    "and --keep the money of the entry counts as returned",
    "delisted": "money and slot of the position stay taken; once its coins are sold, converted or "
    "withdrawn, answer --forget",
    "foreign order": "no entries in this symbol while the order is open; --keep allows entries",
    "foreign fills": "no entries in this symbol; answer --keep to allow entries again",
}

#: Valid answers by kind of difference; for kinds without an entry, `keep` is valid.
_VALID_ANSWERS: Final[dict[str, "tuple[Answer, ...]"]] = {
    "missing coins": ("adopt", "forget"),
    "delisted": ("forget",),
    "other copy": ("adopt",),
    "older order": ("adopt", "keep"),
    "lost executions": ("adopt", "forget", "keep"),
}
#: Flag of each answer.
_FLAGS: Final[dict["Answer", str]] = {"adopt": "--adopt", "forget": "--forget", "keep": "--keep"}


def reconcile_account(
    *,
    account: ACCOUNT = None,
    adopt: ADOPT = None,
    forget: FORGET = None,
    price: PRICE = None,
    keep: KEEP = None,
    json: options.Json = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Show how an account differs from the exchange, and answer a difference.

    NUMBER is the number in the list. The running trader acts on an answer at its next reading of
    the account, usually within 20 s. A position in a market that is not listed any more, on paper
    too, is removed from the account's records at once.
    """
    from onetape.cli.loading import find_settings_file, load_settings
    from onetape.cli.output import note, print_json, print_line
    from onetape.store.live_accounts import read_open_differences
    from onetape.store.read_only import open_read_only
    from trader.settings import TraderSettings, choose_trader_database

    answers = _collect_answers(adopt, forget, keep)
    if price is not None and forget is None:
        raise UsageError("--price needs --forget NUMBER", setting="price")
    given = {"db": db, "exchange": exchange}
    file = find_settings_file("trader", config)
    loaded = load_settings(TraderSettings, "trader", file, given, reads_strategy=False)
    settings = loaded.settings
    path: Path = choose_trader_database(settings)
    if not path.exists():
        raise DataError(f"{path} does not exist; name the database with --db")
    name = None if account is None else normalize_account_name(account)
    for number, answer in answers:
        result = _store_answer(path, name, number, answer, _parse_price(price))
        if result is not None:
            (note if json else print_line)(result)
    with open_read_only(path) as store:
        found = read_open_differences(store, name)
        if name is not None and not found:
            check_account_exists(store, name)
    if json:
        print_json({"differences": [_make_difference_document(one) for one in found]})
        return
    for one in found:
        for line in _format_difference_lines(one):
            print_line(line)
    if not found:
        print_line(f"{path}: nothing differs from the exchange that needs an answer")


def _collect_answers(
    adopt: int | None, forget: int | None, keep: int | None
) -> "list[tuple[int, Answer]]":
    """Return the answer that the flags give, with the number of its difference; may be empty.

    Raises:
        UsageError: the flags give several answers.
    """
    answers: list[tuple[int, Answer]] = []
    if adopt is not None:
        answers.append((adopt, "adopt"))
    if forget is not None:
        answers.append((forget, "forget"))
    if keep is not None:
        answers.append((keep, "keep"))
    if len(answers) > 1:
        raise UsageError("--adopt, --forget and --keep exclude each other; answer one at a time")
    return answers


def _parse_price(price: str | None) -> Decimal | None:
    """Return the value of --price, quote currency; None: not given.

    Raises:
        UsageError: the price is not a number of 0 or more.
    """
    if price is None:
        return None
    try:
        amount = Decimal(price)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"--price must be a number of 0 or more, found {price!r}", setting="price")
    return amount


def _store_answer(
    path: Path, name: str | None, number: int, answer: "Answer", price: Decimal | None
) -> str | None:
    """Store a person's answer; write off a delisted position if no trader runs.

    Args:
        path: The database.
        name: Account of the difference; None: any.
        number: Number of the difference.
        answer: The answer.
        price: Proceeds of each coin of a delisted position, quote currency; None: not given.

    Returns:
        A text about the delisted position; None: the difference has another kind.

    Raises:
        UsageError: there is no such difference, or the answer is not valid for it.
        SafetyRefusal: a trader has begun to trade the delisted symbol meanwhile.
    """
    from onetape.store.database import open_store
    from onetape.store.live_accounts import DELISTED, read_open_differences, store_difference_answer
    from trader.delisted import write_off_delisted

    with open_store(path, create=False) as store:
        found = next((one for one in read_open_differences(store) if one.number == number), None)
        if found is None:
            raise UsageError(f"there is no open difference {number}; uv run trader reconcile")
        if name not in (None, found.account):
            raise UsageError(
                f"difference {number} is of account {found.account}, not {name}; "
                "leave --account out"
            )
        valid = _VALID_ANSWERS.get(found.kind, ("keep",))
        if answer not in valid:
            flags = " or ".join(_FLAGS[one] for one in valid)
            raise UsageError(f"difference {number} ({found.kind}) takes only {flags}")
        if found.kind == DELISTED:
            return write_off_delisted(store, found, price)
        if price is not None:
            raise UsageError(
                f"difference {number} ({found.kind}) takes no --price: the position ends at the "
                "price it was bought for",
                setting="price",
            )
        store_difference_answer(store, number, answer, answered_ms=time.time_ns() // 1_000_000)
    return None


def _make_difference_document(found: "StoredDifference") -> dict[str, Any]:
    return {
        "number": found.number,
        "account": found.account,
        "symbol": found.document.get("symbol"),
        "kind": found.kind,
        "subject": found.subject,
        "text": found.document.get("text"),
        "seen_ms": found.seen_ms,
        "answer": found.answer,
    }


def _format_difference_lines(found: "StoredDifference") -> list[str]:
    meaning = _MEANINGS.get(found.kind, "")
    if found.answer is not None:
        meaning = f"answered: {found.answer}"
    symbol = found.document.get("symbol")
    return [
        f"{found.number}  {found.account} {symbol}: {found.kind}: {found.document.get('text')}",
        f"   {meaning}",
    ]
