"""Commands of persons (pause, exit, halt and so on) for one account, read once for all its symbols.

A command is a row of the table `controls`. Each process of the account reads the rows that are new,
computes the state that all rows result in (`ControlState`), and prints each command once for each
of its symbols. The session of a symbol carries a command out (`control_watch`).
"""

import time
from collections.abc import Collection, Sequence

from msgspec import Struct

from onetape.execution.controls import ControlCommand, ControlState, add_control, remove_done
from onetape.store.controls import finish_controls
from onetape.store.database import Store
from trader.command_file import CommandFiles
from trader.control_state import read_new_controls


class TakenCommand(Struct, frozen=True):
    """A command that arrived while this process ran."""

    control: ControlCommand
    before: ControlState
    """State of all commands before this one."""


class AccountCommands:
    """Reads the commands of one account. Every method runs in the trading thread."""

    def __init__(self, store: Store, account: str, symbols: Collection[str]) -> None:
        """Initialise; nothing is read yet.

        Args:
            store: The open database.
            account: Account of the commands.
            symbols: Symbols that this process trades; a command for another one closes nothing.
        """
        self._store = store
        self._account = account
        self._symbols = symbols
        self._files = CommandFiles(store)
        self._newest = 0
        """Number of the newest command that has been read."""
        self._read_at: float | None = None
        """Time of the last read, monotonic seconds; None: no read yet."""
        self._taken: list[TakenCommand] = []
        """Commands that arrived after the first read, oldest first."""
        self._shown: dict[str, int] = {}
        """Number of the newest command that each symbol has acknowledged."""
        self._unfinished: set[int] = set()
        """Pauses, resumes and halts that were read, and are not stored as carried out yet."""
        self.state = ControlState()
        """State that the commands result in, for the symbols of this process."""

    def read(self, *, max_age_seconds: float = 0.0, takes_files: bool = True) -> list[str]:
        """Read the commands that arrived since the last read, and update `state`.

        Args:
            max_age_seconds: Nothing is read if the last read, by any symbol, is not older.
            takes_files: Whether command files are stored as rows first; this writes to the
                database.

        Returns:
            Lines to print about command files.

        Raises:
            StoreError: the file cannot be read or written; nothing of a command is lost.
        """
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < max_age_seconds:
            return []
        lines = self._files.take() if takes_files else []
        is_first = self._read_at is None
        for control in read_new_controls(self._store, self._account, after=self._newest):
            if not is_first:
                self._taken.append(TakenCommand(control, self.state))
            self.state = add_control(self.state, control, self._symbols)
            if not control.is_done and control.verb in ("pause", "resume", "halt"):
                self._unfinished.add(control.number)
            self._newest = control.number
        self._read_at = now
        return lines

    def take_new(self, symbol: str) -> Sequence[TakenCommand]:
        """Return the commands that arrived since the last call for this symbol, oldest first.

        Commands from before the first read of this process are left out.
        """
        shown = self._shown.get(symbol, 0)
        self._shown[symbol] = self._newest
        return [one for one in self._taken if one.control.number > shown]

    def finish_changes(self, now_ms: int) -> None:
        """Store that the pauses, resumes and halts that were read are carried out.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written; the next call stores it.
        """
        if self._unfinished:
            finish_controls(self._store, sorted(self._unfinished), done_ms=now_ms)
            self._unfinished.clear()

    def finish(self, controls: Sequence[ControlCommand], now_ms: int) -> None:
        """Store that commands to close a position, or to reload settings, are carried out.

        Args:
            controls: The commands.
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written; the commands stay open.
        """
        numbers = [one.number for one in controls]
        finish_controls(self._store, numbers, done_ms=now_ms)
        self.state = remove_done(self.state, numbers)

    def get_close_commands(self, symbol: str) -> list[ControlCommand]:
        """Return the commands to close the position of a symbol that are not carried out yet."""
        return [one for one in self.state.closing if one.symbol in (None, symbol)]
