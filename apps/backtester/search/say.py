"""Write the page of a search, and print what came out."""

from collections.abc import Sequence

import msgspec

from backtester.search.page import write_page
from backtester.search.run import Search
from backtester.search.words import search_document, search_text
from onetape.cli.output import print_line


def say(search: Search, given: Sequence[str], *, as_json: bool) -> None:
    """Write the page beside the results and print text, or one document.

    Args:
        search: What was found.
        given: The flags that a backtest of the best takes too.
        as_json: Whether a document is wanted.
    """
    page = write_page(search, given)
    if as_json:
        encoded = msgspec.json.encode(search_document(search, page, given), enc_hook=str)
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        print_line(search_text(search, page, given))
