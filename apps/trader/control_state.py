"""The commands of a person that hold for an account, read from the database."""

from onetape.core.clock import utc_text
from onetape.execution.controls import Control, ControlState, fold_controls
from onetape.store.controls import read_controls
from onetape.store.database import Store


def read_control_state(store: Store, account: str) -> ControlState:
    """Return what the stored commands of an account add up to.

    Raises:
        StoreError: the file cannot be read.
    """
    return fold_controls(
        Control(number, verb, at_ms, given_by, bool(is_done))
        for number, verb, at_ms, given_by, is_done in read_controls(store, account)
    )


def pause_text(pause: Control) -> str:
    """Return who forbade entries, and since when."""
    return f"paused by {pause.given_by} since {utc_text(pause.at_ms // 1_000)}"
