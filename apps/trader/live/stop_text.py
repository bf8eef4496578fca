"""The stop of an account's positions as a text: that of its settings, and that of the strategy."""

from collections.abc import Sequence
from typing import Final

from onetape.engine import ExitConfig

_OWN_STOP: Final = "the price in the strategy's `stop` column"


def format_stop(exits: ExitConfig, symbols: Sequence[str], own_stops: Sequence[str]) -> str:
    """Return the stop of a position, as a text.

    Args:
        exits: Exits of the account.
        symbols: Symbols that are traded.
        own_stops: Symbols whose strategy gives a stop; others than `symbols` have no effect.
    """
    account, own = _format_account_stop(exits), [one for one in symbols if one in own_stops]
    if not (account or own):
        return "NONE: nothing at the exchange limits the loss of a position (--stop-loss sets one)"
    where = "" if len(own) == len(symbols) else f" for {', '.join(own)}"
    if not own:
        return f"rests on the exchange, {account}"
    if account:
        return f"rests on the exchange, {account}; at {_OWN_STOP}{where}, where that is higher"
    others = "; NONE for the other symbols" if where else ""
    return f"rests on the exchange{where}, at {_OWN_STOP}; NONE after a BUY without a price{others}"


def _format_account_stop(exits: ExitConfig) -> str:
    """Return the stop by the account's exits, as a text; empty: there is none."""
    found: list[str] = []
    if exits.stop_loss is not None:
        found.append(f"{100 * exits.stop_loss:.4g} % under the entry")
    if exits.trailing_stop is not None:
        found.append(_format_trailing_stop(exits))
    if exits.break_even is not None:
        profit = f"{100 * exits.break_even:.4g} %"
        before = "" if found else ", not at the exchange before"
        found.append(f"at break-even from a profit of {profit} on{before}")
    return " and ".join(found)


def _format_trailing_stop(exits: ExitConfig) -> str:
    text = f"{100 * (exits.trailing_stop or 0.0):.4g} % under the highest price since the entry"
    if exits.trailing_offset is None:
        return text
    before = exits.trailing_stop_before_offset
    first = "not at the exchange before" if before is None else f"{100 * before:.4g} % before"
    return f"{text} from a profit of {100 * exits.trailing_offset:.4g} % on, {first}"
