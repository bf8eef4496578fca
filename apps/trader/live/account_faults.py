"""Reports that the account cannot be read at the exchange, or not be compared with the database."""

import time
from typing import Final

from onetape.cli.program import TRACEBACK_VARIABLE
from trader.live.book import LiveBook
from trader.states import Problem

#: Time without a reading of the account after which a problem is reported, wall seconds.
UNREAD_SECONDS: Final = 30.0
#: Source of the problem that the account cannot be read.
READING_PROBLEM: Final = "account reading"
#: Source of the problem that a comparison of the account has raised an error.
COMPARISON_PROBLEM: Final = "account comparison"
_MEASURE_BEFORE_COMPARISON: Final = (
    "no entries meanwhile; a stop is placed for coins that were bought and are free"
)


def report_faults(book: LiveBook, read: float, *, is_protecting: bool) -> None:
    """Report that the account cannot be read or compared, or that this works again.

    Args:
        book: The orders of the symbol.
        read: Time of the last reading of the account, monotonic seconds.
        is_protecting: Whether balances were read since the start and nothing was compared yet, so
            that stops are placed by the balances alone.
    """
    states, fault, raised = book.states, book.broker.fault, book.broker.comparison_faults.text
    if fault and (is_protecting or time.monotonic() - read > UNREAD_SECONDS):
        resting = "no entries meanwhile; stops rest where they are"
        problem = Problem(
            f"the account cannot be read: {fault.partition('; ')[0]}",
            _MEASURE_BEFORE_COMPARISON if is_protecting else resting,
            "check the network and the API key, if this lasts",
        )
        states.report(READING_PROBLEM, problem)
    elif not fault:
        states.clear_problem(READING_PROBLEM)
    if raised:
        problem = Problem(
            f"the account cannot be compared with the database: {raised}",
            f"{_MEASURE_BEFORE_COMPARISON}; it is compared again later",
            f"please report it; {TRACEBACK_VARIABLE}=1 prints where it was raised",
        )
        states.report(COMPARISON_PROBLEM, problem)
    else:
        states.clear_problem(COMPARISON_PROBLEM)
