"""The state that an account's stored commands result in: paused, halted, positions to close."""

from onetape.core.clock import format_utc
from onetape.execution.controls import ControlCommand, ControlState, fold_controls
from onetape.store.controls import read_controls
from onetape.store.database import Store


def read_control_state(store: Store, account: str, symbol: str | None = None) -> ControlState:
    """Return the state that results from the stored commands of an account.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: The symbol that is traded; commands for another one close nothing. None: any.

    Raises:
        StoreError: the file cannot be read.
    """
    return fold_controls(read_new_controls(store, account, after=0), symbol)


def read_new_controls(store: Store, account: str, *, after: int) -> list[ControlCommand]:
    """Return the commands of an account with numbers above `after`, by number.

    Raises:
        StoreError: the file cannot be read.
    """
    return [
        ControlCommand(
            number, verb, at_ms, given_by, bool(is_done), of_symbol, bool(applies_to_open)
        )
        for number, verb, at_ms, given_by, is_done, of_symbol, applies_to_open in read_controls(
            store, account, after=after
        )
    ]


def format_pause(pause: ControlCommand) -> str:
    """Return a text of a pause or a halt: `paused by USER on HOST since 2024-03-01 14:00`."""
    done = "halted" if pause.verb == "halt" else "paused"
    return f"{done} by {pause.given_by} since {format_utc(pause.at_ms // 1_000)}"
