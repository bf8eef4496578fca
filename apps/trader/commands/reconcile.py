"""`trader reconcile`: what differs between the file and the exchange, and a person's answer."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from onetape.cli import options
from onetape.core.errors import DataError, UsageError
from trader.commands.common import CONFIG

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
        help="For missing coins: the position becomes what is left at the exchange.",
    ),
]
FORGET = Annotated[
    int | None,
    typer.Option(
        "--forget", metavar="NUMBER", help="For missing coins: there is no position any more."
    ),
]
KEEP = Annotated[
    int | None,
    typer.Option(
        "--save",
        metavar="NUMBER",
        help="For orders or fills of others: leave them alone, and allow entries again.",
    ),
]
_MEANINGS: Final = {
    "missing coins": "nothing is traded in this symbol; answer --adopt or --forget",
    "foreign order": "no entries in this symbol while it is open; answer --save to let them go on",
    "foreign fills": "no entries in this symbol; answer --save to let them go on",
}


def reconcile_account(
    *,
    account: ACCOUNT = None,
    adopt: ADOPT = None,
    forget: FORGET = None,
    keep: KEEP = None,
    json: options.Json = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Show how a live account differs from the exchange, and answer a difference.

    NUMBER is the number in the list. The running trader acts on an answer when it next reads the
    account, usually within 20 s.
    """
    from onetape.cli.loading import load_settings, settings_file
    from onetape.cli.output import print_json, print_line
    from onetape.store.live_accounts import open_differences
    from onetape.store.read_only import open_read_only
    from trader.settings import TraderSettings, trader_database

    answers = _given(adopt, forget, keep)
    if len(answers) > 1:
        raise UsageError("--adopt, --forget and --save exclude each other; answer one at a time")
    given = {"db": db, "exchange": exchange}
    file = settings_file("trader", config)
    loaded = load_settings(TraderSettings, "trader", file, given, reads_strategy=False)
    settings = loaded.settings
    path: Path = trader_database(settings)
    if not path.exists():
        raise DataError(f"{path} does not exist; name the database with --db")
    for number, answer in answers:
        _answer(path, number, answer)
    with open_read_only(path) as store:
        found = open_differences(store, account)
    if json:
        print_json({"differences": [_document(one) for one in found]})
        return
    for one in found:
        for line in _lines(one):
            print_line(line)
    if not found:
        print_line(f"{path}: nothing differs from the exchange that needs an answer")


def _given(adopt: int | None, forget: int | None, keep: int | None) -> "list[tuple[int, Answer]]":
    """Return the answers that the flags give, each with its difference's number."""
    answers: list[tuple[int, Answer]] = []
    if adopt is not None:
        answers.append((adopt, "adopt"))
    if forget is not None:
        answers.append((forget, "forget"))
    if keep is not None:
        answers.append((keep, "keep"))
    return answers


def _answer(path: Path, number: int, answer: "Answer") -> None:
    """Store an answer.

    Raises:
        UsageError: there is no such difference, or the answer does not fit it.
    """
    from onetape.store.database import open_store
    from onetape.store.live_accounts import answer_difference, open_differences

    with open_store(path, create=False) as store:
        found = next((one for one in open_differences(store) if one.number == number), None)
        if found is None:
            raise UsageError(f"there is no open difference {number}; uv run trader reconcile")
        is_of_coins = found.kind == "missing coins"
        if is_of_coins == (answer == "keep"):
            fitting = "--adopt or --forget" if is_of_coins else "--save"
            raise UsageError(f"difference {number} ({found.kind}) is answered by {fitting}")
        answer_difference(store, number, answer, answered_ms=time.time_ns() // 1_000_000)


def _document(found: "StoredDifference") -> dict[str, Any]:
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


def _lines(found: "StoredDifference") -> list[str]:
    meaning = _MEANINGS.get(found.kind, "")
    if found.answer is not None:
        meaning = f"answered: {found.answer}"
    symbol = found.document.get("symbol")
    return [
        f"{found.number}  {found.account} {symbol}: {found.kind}: {found.document.get('text')}",
        f"   {meaning}",
    ]
