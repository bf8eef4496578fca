"""`backfiller revisions`: list and accept later values of candles that differ from stored ones."""

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

    ids = _parse_revision_ids(accept or [])
    if force and (not accept or "all" in accept):
        raise UsageError("--force needs the numbers of revisions: --accept ID --force")
    with open_database(db, config, exchange) as store:
        keys = read_chosen_series(store, exchange, symbol, timeframe)
        accepted: int | None = None
        if accept:
            now_ms = SystemClock().now_ms()
            accepted = accept_revisions(store, ids, accepted_ms=now_ms, force=force)
            if "all" in accept:
                open_ids = [revision.id for key in keys for revision in read_revisions(store, key)]
                accepted += accept_outranking(store, open_ids, accepted_ms=now_ms)
        found = [
            revision for key in keys for revision in read_revisions(store, key, open_only=not all_)
        ]
        path = store.path
    if json_:
        revisions = [{**asdict(revision), "outranks": revision.outranks} for revision in found]
        print_json({"database": path, "revisions": revisions, "accepted": accepted})
        return
    for revision in found:
        print_line(_format_revision_line(revision))
    done = "" if accepted is None else f", {format_count(accepted, 'candle')} changed"
    open_revisions = [revision for revision in found if not revision.accepted]
    outranking = sum(revision.outranks for revision in open_revisions)
    ranks = f" ({outranking:,} may be accepted)" if open_revisions else ""
    print_line(f"{path}: {format_count(len(open_revisions), 'open revision')}{ranks}{done}")


def _parse_revision_ids(texts: list[str]) -> list[int]:
    """Return the ids of revisions among the values of --accept; `all` is left out.

    Raises:
        UsageError: a text is not a number and not `all`.
    """
    from onetape.core.errors import UsageError

    ids: list[int] = []
    for text in texts:
        if text.isdecimal() and len(text) < 19:
            ids.append(int(text))
        elif text != "all":
            raise UsageError(f"--accept {text!r} is not the number of a revision, and not `all`")
    return ids


def _format_revision_line(revision: "Revision") -> str:
    """Return a revision as a line: id, candle, changed values, the ranks, whether it is open."""
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
