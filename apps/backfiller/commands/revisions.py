"""`backfiller revisions`: values that an exchange changed after the close."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import asdict

from backfiller.commands.common import CONFIG, chosen_series, open_database
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.store.revisions import Revision


def list_revisions(
    *,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Give the candle this value, or `all` that are open; repeat for several.",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List those too that are settled.")] = False,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List values that came for closed candles and differ from the stored ones; accept them."""
    from onetape.cli.output import print_json, print_line
    from onetape.core.words import counted
    from onetape.store.revisions import accept as accept_revisions
    from onetape.store.revisions import revisions_of

    with open_database(db, config, exchange) as store:
        keys = chosen_series(store, exchange, symbol, timeframe)
        accepted: int | None = None
        if accept:
            is_open = [one.id for key in keys for one in revisions_of(store, key)]
            accepted = accept_revisions(store, _numbers(accept, is_open))
        found = [one for key in keys for one in revisions_of(store, key, open_only=not all_)]
        path = store.path
    if json_:
        revisions = [asdict(one) for one in found]
        print_json({"database": path, "revisions": revisions, "accepted": accepted})
        return
    for one in found:
        print_line(_line(one))
    done = "" if accepted is None else f", {counted(accepted, 'candle')} changed"
    print_line(f"{path}: {counted(sum(not one.accepted for one in found), 'open revision')}{done}")


def _numbers(texts: list[str], is_open: list[int]) -> list[int]:
    """Return the revisions that are meant.

    Raises:
        UsageError: a text is no number and not `all`.
    """
    from onetape.core.errors import UsageError

    numbers: list[int] = []
    for text in texts:
        if text == "all":
            numbers += is_open
        elif text.isdecimal() and len(text) < 19:
            numbers.append(int(text))
        else:
            raise UsageError(f"--accept {text!r} is no number of a revision, and not `all`")
    return numbers


def _line(revision: "Revision") -> str:
    from onetape.core.clock import utc_text

    pairs = zip(revision.old._fields, revision.old, revision.new, strict=True)
    changes = [f"{name} {old!r} -> {new!r}" for name, old, new in pairs if old != new]
    state = ", settled" if revision.accepted else ""
    seen = utc_text(revision.seen_ms // 1_000)
    return (
        f"{revision.id}: {revision.key} {utc_text(revision.old.timestamp)}: {', '.join(changes)} "
        f"({revision.source or 'sql'}, {seen}{state})"
    )
