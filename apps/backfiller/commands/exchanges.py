"""`backfiller exchanges`: list CCXT's exchanges, without a request."""

from typing import Annotated

import typer
from msgspec.structs import asdict

from onetape.cli import options


def list_exchanges(
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="List exchanges without candles too.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """List CCXT's exchanges with their timeframes and candles per call; needs no network."""
    import shutil
    import textwrap

    from onetape.cli.output import print_json, print_line
    from onetape.exchange.catalogue import collect_exchange_facts

    found = [one for one in collect_exchange_facts() if all_ or one.serves_candles]
    if json_:
        print_json({"exchanges": [asdict(one) for one in found]})
        return
    width = max(len(one.exchange) for one in found)
    print_line(f"{'exchange':{width}}  per call  timeframes")
    room = max(shutil.get_terminal_size((160, 24)).columns, width + 40)
    for one in found:
        count = "?" if one.page_limit is None else f"{one.page_limit:,}"
        marks = ("*" if one.newest_only else "") + ("" if one.is_tried else "'")
        head = f"{one.exchange:{width}}  {count + marks:>8}  "
        names = " ".join(one.timeframes) if one.serves_candles else "no candles"
        lines = textwrap.wrap(names, room - len(head)) or ["none"]
        print_line(head + f"\n{' ' * len(head)}".join(lines))
    print_line(
        f"{len(found)} exchanges. Per call: candles in one response; * the newest only, nothing "
        "older; ' as CCXT states it, not tested with Onetape; ? not stated."
    )
