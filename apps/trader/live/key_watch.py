"""Reports wrong rights of the API key while the trader runs: withdrawals allowed, or no trading.

A person may change the rights of a key at the exchange at any time, so they are read each hour.
"""

from typing import Final

from onetape.core.errors import SafetyRefusal
from onetape.exchange.permissions import KeyMayNotTrade, check_permissions
from onetape.exchange.trading import PrivateClient
from trader.brokers.key_rights import KeyRights
from trader.live.book import LiveBook
from trader.states import Problem

#: Source of the problem that a key has wrong rights.
KEY_PROBLEM: Final = "API key"


def make_rights_watch(client: PrivateClient, ban: Problem | None) -> KeyRights | None:
    """Return the reader of a key's rights; None: the start has banned entries until a restart.

    Args:
        client: CCXT client of the account.
        ban: Problem of the key that the start has found; None: none.
    """
    if ban is not None and not ban.is_final:
        return None
    rights = KeyRights(client)
    if ban is not None:
        # Whether orders can be sent by now decides whether a level without a stop is watched.
        rights.read_soon()
    return rights


def watch_key(book: LiveBook) -> None:
    """Request the rights of the key when that is due, and report wrong rights as a problem.

    Args:
        book: The orders of a symbol; the book's broker has the key.
    """
    rights = book.broker.key_rights
    if rights is None:
        return
    is_wrong = book.states.has_problem(KEY_PROBLEM)
    rights.read_if_due(book.times.key_rights_again if is_wrong else book.times.key_rights)
    if rights.refusal is not None:
        book.states.report(KEY_PROBLEM, _make_refusal_problem(rights.refusal))
        return
    if rights.found is None:
        book.states.clear_problem(KEY_PROBLEM)
        return
    try:
        # Rights that the exchange does not state were accepted at the start.
        check_permissions(rights.exchange, rights.found, is_unknown_allowed=True)
    except SafetyRefusal as error:
        book.states.report(KEY_PROBLEM, _make_rights_problem(error))
    else:
        book.states.clear_problem(KEY_PROBLEM)


def _make_refusal_problem(refusal: str) -> Problem:
    """Return the problem of a running trader whose key is not accepted."""
    return Problem(
        f"the API key is not accepted: {refusal}",
        "no order can be sent; a stop that rests on the exchange stays there",
        "make the key valid for this computer again, or start the trader with another key; the "
        "rights are read again each minute",
        is_final=True,
    )


def _make_rights_problem(error: SafetyRefusal) -> Problem:
    """Return the problem of a running trader whose key has wrong rights."""
    reason, _, advice = str(error).replace("the key", "the API key", 1).partition(": ")
    remedy = f"{advice}; the rights are read again each minute"
    if isinstance(error, KeyMayNotTrade):
        measure = "no order can be sent; a stop that rests on the exchange stays there"
        return Problem(reason, measure, remedy, is_final=True)
    return Problem(reason, "no entries; exits and stops go on", remedy)
