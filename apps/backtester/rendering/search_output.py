"""Write the page of a search, and print the result."""

from collections.abc import Sequence

import msgspec

from backtester.rendering.search import search_document, search_text
from backtester.rendering.search_page import write_search_page
from onetape.backtest.optimization.run import Search
from onetape.cli.output import print_line


def print_search(search: Search, given: Sequence[str], *, as_json: bool) -> None:
    """Write the page of a search beside its results, and print text or one document.

    Args:
        search: The finished search.
        given: Flags of the search that a backtest of the best takes too.
        as_json: Whether to print a document.
    """
    page = write_search_page(search, given)
    if as_json:
        encoded = msgspec.json.encode(search_document(search, page, given), enc_hook=str)
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        print_line(search_text(search, page, given))
