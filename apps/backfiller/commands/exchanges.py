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

    found = [facts for facts in collect_exchange_facts() if all_ or facts.serves_candles]
    if json_:
        print_json({"exchanges": [asdict(facts) for facts in found]})
        return
    id_width = max(len(facts.exchange) for facts in found)
    print_line(f"{'exchange':{id_width}}  per call  timeframes")
    line_width = max(shutil.get_terminal_size((160, 24)).columns, id_width + 40)
    for facts in found:
        count = "?" if facts.page_limit is None else f"{facts.page_limit:,}"
        marks = ("*" if facts.newest_only else "") + ("" if facts.is_tried else "'")
        head = f"{facts.exchange:{id_width}}  {count + marks:>8}  "
        names = " ".join(facts.timeframes) if facts.serves_candles else "no candles"
        lines = textwrap.wrap(names, line_width - len(head)) or ["none"]
        print_line(head + f"\n{' ' * len(head)}".join(lines))
    print_line(
        f"{len(found)} exchanges. Per call: candles in one response; * the newest only, nothing "
        "older; ' as CCXT states it, not tested with Onetape; ? not stated."
    )
