"""`backfiller revisions`: values that an exchange changed after the close."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import asdict

from backfiller.commands.series_selection import CONFIG, open_database, read_chosen_series
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.store.revisions import Revision


def list_revisions(
    *,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Replace the stored value by this revision, or by `all` of a higher rank; "
            "repeat for several.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Accept ID although it does not rank higher."),
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="List settled revisions too.")] = False,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List later values of closed candles that differ from the stored ones; accept them."""
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import SystemClock
    from onetape.core.errors import UsageError
    from onetape.core.message_text import format_count
    from onetape.store.revisions import accept as accept_revisions
    from onetape.store.revisions import accept_outranking, read_revisions

    numbers = _parse_revision_numbers(accept or [])
    if force and (not accept or "all" in accept):
        raise UsageError("--force needs the numbers of revisions: --accept ID --force")
    with open_database(db, config, exchange) as store:
        keys = read_chosen_series(store, exchange, symbol, timeframe)
        accepted: int | None = None
        if accept:
            now_ms = SystemClock().now_ms()
            accepted = accept_revisions(store, numbers, accepted_ms=now_ms, force=force)
            if "all" in accept:
                is_open = [one.id for key in keys for one in read_revisions(store, key)]
                accepted += accept_outranking(store, is_open, accepted_ms=now_ms)
        found = [one for key in keys for one in read_revisions(store, key, open_only=not all_)]
        path = store.path
    if json_:
        revisions = [{**asdict(one), "outranks": one.outranks} for one in found]
        print_json({"database": path, "revisions": revisions, "accepted": accepted})
        return
    for one in found:
        print_line(_format_revision_line(one))
    done = "" if accepted is None else f", {format_count(accepted, 'candle')} changed"
    is_open = [one for one in found if not one.accepted]
    better = sum(one.outranks for one in is_open)
    ranks = f" ({better:,} may be accepted)" if is_open else ""
    print_line(f"{path}: {format_count(len(is_open), 'open revision')}{ranks}{done}")


def _parse_revision_numbers(texts: list[str]) -> list[int]:
    """Return the numbers among the texts, which name revisions or are `all`.

    Raises:
        UsageError: a text is not a number and not `all`.
    """
    from onetape.core.errors import UsageError

    numbers: list[int] = []
    for text in texts:
        if text.isdecimal() and len(text) < 19:
            numbers.append(int(text))
        elif text != "all":
            raise UsageError(f"--accept {text!r} is not the number of a revision, and not `all`")
    return numbers


def _format_revision_line(revision: "Revision") -> str:
    """Return both values and their ranks, such as `... close 1.0 -> 2.0 (REST ... -> ...)`."""
    from onetape.core.clock import format_utc
    from onetape.core.digits import format_exact
    from onetape.store.ranks import RANK_NAMES

    pairs = zip(revision.old._fields, revision.old, revision.new, strict=True)
    changes = [
        f"{name} {format_exact(old)} -> {format_exact(new)}"
        for name, old, new in pairs
        if old != new
    ]
    stored = revision.stored_rank
    before = "not stored any more" if stored is None else RANK_NAMES[stored]
    if revision.accepted:
        verdict = "settled"
    else:
        verdict = "may be accepted" if revision.outranks else "ranks no higher"
    seen = format_utc(revision.seen_ms // 1_000)
    return (
        f"{revision.id}: {revision.key} {format_utc(revision.old.timestamp)}: {', '.join(changes)} "
        f"(stored: {before}; came: {RANK_NAMES[revision.rank]}, {seen}; {verdict})"
    )
