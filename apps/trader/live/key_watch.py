"""Reports that the API key may do something else than at the start, and what to do about it."""

from typing import Final

from onetape.core.errors import SafetyRefusal
from onetape.exchange.permissions import KeyMayNotTrade, check_permissions
from onetape.exchange.trading import PrivateClient
from trader.brokers.key_rights import KeyRights
from trader.live.book import LiveBook
from trader.states import Problem

#: Source of the problem that a key has other rights than it should have.
KEY: Final = "API key"


def rights_after_start(client: PrivateClient, ban: Problem | None) -> KeyRights | None:
    """Return the watch that reads a key's rights again; None: a key that may withdraw.

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
    """Let the rights of the key be read from time to time, and report those that are wrong.

    Args:
        book: Book of a symbol; its broker has the key.
    """
    rights = book.broker.key_rights
    if rights is None:
        return
    is_wrong = book.states.has_problem(KEY)
    rights.look(book.times.key_rights_again if is_wrong else book.times.key_rights)
    if rights.refusal is not None:
        book.states.report(KEY, _problem_of_refusal(rights.refusal))
        return
    if rights.found is None:
        book.states.solve(KEY)
        return
    try:
        # What the exchange does not state was accepted at the start.
        check_permissions(rights.exchange, rights.found, is_unknown_allowed=True)
    except SafetyRefusal as error:
        book.states.report(KEY, _problem_of(error))
    else:
        book.states.solve(KEY)


def _problem_of_refusal(refusal: str) -> Problem:
    """Return what a key that is not accepted means for a trader that runs."""
    return Problem(
        f"the API key is not accepted: {refusal}",
        "no order can be sent; a stop that rests on the exchange stays there",
        "make the key valid for this computer again, or start the trader with another key; the "
        "rights are read again each minute",
        is_final=True,
    )


def _problem_of(error: SafetyRefusal) -> Problem:
    """Return what wrong rights mean for a trader that runs."""
    reason, _, advice = str(error).replace("the key", "the API key", 1).partition(": ")
    remedy = f"{advice}; the rights are read again each minute"
    if isinstance(error, KeyMayNotTrade):
        measure = "no order can be sent; a stop that rests on the exchange stays there"
        return Problem(reason, measure, remedy, is_final=True)
    return Problem(reason, "no entries; exits and stops go on", remedy)
