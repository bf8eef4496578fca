"""The command file: commands that a person writes into a text file next to the database.

The file has the name of the database with `-commands` appended, and one command in each line, such
as `exit BTC/USDT`. The first trader that finds the file renames it to a name that is never used
again, so that lines added later begin a new file. A moment later a trader stores the commands as
rows, together with that name, in one transaction. Only then is the file removed: if the program
ends in between, the stored name shows that the commands of the file are stored already.

A file that cannot be read or renamed is left in place, and a line is printed; the trader goes on.
"""

import errno
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from onetape.core.errors import UsageError
from onetape.store.account_reading import read_traded_series
from onetape.store.accounts import AccountSeries
from onetape.store.connection import DatabaseConnection
from onetape.store.controls import add_command_file, add_controls, is_command_file_stored
from onetape.store.copying import flush_to_disk
from onetape.store.database import Store
from trader.command_rows import make_command_rows, parse_command

#: Maximum bytes of a command file that are read; the rest is not read, which is printed.
MOST_BYTES: Final = 4_096
#: Wall seconds after which a file is read whose last line has no newline: it may still be written.
UNFINISHED_SECONDS: Final = 2.0
#: Wall seconds after which a renamed file is read: a program that has it open may still write.
SETTLED_SECONDS: Final = 0.2


def get_command_file(database: Path) -> Path:
    """Return the file next to a database that commands are written into."""
    return database.with_name(f"{database.name}-commands")


def list_taken_files(database: Path) -> list[Path]:
    """Return the command files that were renamed and are not stored yet, oldest first."""
    start = f"{get_command_file(database).name}-taken"
    # Names only: each trader lists the folder several times a second.
    with os.scandir(database.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(start))
    return [database.with_name(name) for name in names]


class CommandFiles:
    """Stores the commands of command files; prints nothing, and returns each line once."""

    def __init__(self, store: Store) -> None:
        """Initialise; nothing is read yet."""
        self._store = store
        self._printed: set[str] = set()
        """Errors of unusable command files that were printed, so that each is printed once."""

    def take(self) -> list[str]:
        """Store the commands of the files that were renamed before; rename a new command file.

        Empty lines and lines that begin with # are left out.

        Returns:
            Lines to print: one for each command, for each invalid line, and for each file that
            cannot be used, unless the line was returned before.

        Raises:
            StoreError: the database cannot be read or written; the file stays, and nothing is
                stored.
        """
        store, path = self._store, get_command_file(self._store.path)
        printed: list[str] = []
        faults: list[str] = []
        try:
            taken_now = list_taken_files(store.path)
        except OSError as error:
            faults.append(
                _describe_fault(path.parent, "be listed", error, "make the folder readable")
            )
        else:
            for taken in taken_now:
                try:
                    printed += _store_commands(store, path.name, taken)
                except OSError as error:
                    faults.append(_describe_fault(taken, "be read", error, _READABLE))
            faults += _rename(store, path)
        new = [fault for fault in faults if fault not in self._printed]
        self._printed = set(faults)
        return printed + new


_READABLE: Final = "make it a file that the trader's user can read, or remove it"


def _describe_fault(path: Path, action: str, error: OSError, remedy: str) -> str:
    """Return the line about a command file that cannot be used."""
    reason = error.strerror or str(error)
    return f"{path} cannot {action} ({reason}), so its commands are not carried out; {remedy}"


def _make_taken_path(path: Path) -> Path:
    """Return a name that no command file has had; later names sort after earlier ones."""
    return path.with_name(f"{path.name}-taken-{time.time_ns():020d}-{uuid4().hex[:8]}")


def _rename(store: Store, path: Path) -> list[str]:
    """Rename the command file to a new unique name, once it is complete; return lines of faults."""
    try:
        # A file that cannot be read keeps its name, so that a person finds it.
        if _read_ready(path) is None:
            return []
    except OSError as error:
        return [_describe_fault(path, "be read", error, _READABLE)]
    # The write lock: only one of two traders renames the file.
    with store.write():
        try:
            if path.exists():
                path.rename(_make_taken_path(path))
                # After a power cut the file must not have its first name again.
                flush_to_disk(path.parent)
        except OSError as error:
            remedy = "make it a file of the trader's user, in a folder where that user may write"
            return [_describe_fault(path, "be renamed", error, remedy)]
    return []


def _store_commands(store: Store, name: str, path: Path) -> list[str]:
    """Store the commands of a renamed file if they are new, then remove it; return lines to print.

    Args:
        store: The open database.
        name: Original name of the file.
        path: Path of the file.

    Raises:
        OSError: the file cannot be read; nothing is stored.
    """
    content = _read_ready(path) if _is_settled(path) else None
    if content is None:
        return []
    traded = read_traded_series(store)
    printed: list[str] = []
    with store.write(durable=True) as connection:
        # Another trader may have stored the commands meanwhile, or this one before it was killed.
        if path.exists() and not is_command_file_stored(connection, path.name):
            printed = _add_commands(connection, traded, name, content)
            add_command_file(connection, path.name, stored_ms=time.time_ns() // 1_000_000)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if printed:
            printed.append(
                f"{path} cannot be removed ({error.strerror}); its commands are stored and will "
                "not be carried out again"
            )
    return printed


def _add_commands(
    connection: DatabaseConnection, traded: Sequence[AccountSeries], name: str, content: bytes
) -> list[str]:
    """Add the commands of a file inside a transaction; return the lines to print."""
    printed: list[str] = []
    now_ms = time.time_ns() // 1_000_000
    if len(content) > MOST_BYTES:
        # A cut line would be a different command: without its account it holds for every account.
        content = content[: content.rfind(b"\n", 0, MOST_BYTES) + 1]
        printed.append(f"{name}: what follows its first {MOST_BYTES:,} bytes is not read")
    for line in (line.strip() for line in content.decode("utf-8", "replace").splitlines()):
        if not line or line.startswith("#"):
            continue
        try:
            command = parse_command(line)
            rows = make_command_rows(traded, command, at_ms=now_ms, given_by=f"the file {name}")
        except UsageError as error:
            printed.append(f"{name}: {error}")
            continue
        add_controls(connection, rows)
        printed.append(f"{name}: {line}")
    return printed


def _is_settled(path: Path) -> bool:
    """Return whether a renamed file exists and is not written to any more."""
    with suppress(FileNotFoundError):
        # A rename changes this time; a time after now is from before the clock was set back.
        age = time.time() - path.stat().st_ctime
        return not 0 <= age < SETTLED_SECONDS
    return False


def _read_ready(path: Path) -> bytes | None:
    """Return the first bytes of a file; None: no such file, or its last line is not complete yet.

    Raises:
        OSError: the file cannot be read, or is not a file, such as a folder or a pipe.
    """
    # Usually the file does not exist, and another trader may take it at any moment.
    with suppress(FileNotFoundError):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for its writer.
            raise OSError(errno.EINVAL, "it is not a file")
        with path.open("rb") as file:
            if time.time() - status.st_mtime > UNFINISHED_SECONDS:
                return file.read(MOST_BYTES + 1)
            return _read_lines(file)
    return None


def _read_lines(file: BinaryIO) -> bytes | None:
    """Return the first bytes of a file; None: it is empty, or its last line has no newline."""
    if not file.seek(0, os.SEEK_END):
        return None
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        return None
    file.seek(0)
    return file.read(MOST_BYTES + 1)
