"""The exit journal: a file next to the database that stores exits even if the disk is full.

Its blocks are allocated at the start. Each decided exit is written to this file first, then to the
database. An exit that the database could not store is copied there as soon as the database can be
written (`journal_entries`). The file has a fixed number of slots, which are overwritten in place,
oldest first; a slot that was half written in a crash has no valid checksum.
"""

import hashlib
import os
import zlib
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from onetape.core.trading import ExitObligation

#: Number of exits that the file can hold.
SLOTS: Final = 8
#: Length of a slot: a block of the usual file systems.
SLOT_BYTES: Final = 4_096
#: Maximum characters of a stored reason, so that an exit fits into a slot.
_LONGEST_REASON: Final = 1_000
#: Length and checksum (CRC-32) before the JSON of an exit, 4 bytes each.
_HEADER_BYTES: Final = 8


class ExitJournal:
    """The journal file of one symbol of an account. No method raises: `fault` has the error."""

    def __init__(self, database: Path, account: str) -> None:
        """Open the file in the folder of the database, and create it if it is missing.

        Args:
            database: Path of the database file.
            account: Name that the file's name is derived from; the trader passes the lease name of
                account and symbol.
        """
        name = hashlib.sha256(account.encode()).hexdigest()[:8]
        self.path = Path(f"{os.path.realpath(database)}-exits-{name}")
        self.fault = ""
        """Reason why the journal cannot store exits; empty: it can."""
        self._descriptor: int | None = None
        self._stored_ids: list[str] = [""] * SLOTS
        """Id of the exit in each slot; empty: no exit, or a slot that was half written."""
        self._next = 0
        """Slot that is overwritten next if all are in use."""
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._descriptor).st_size != SLOTS * SLOT_BYTES:
                self.clear()
            self._stored_ids = ["" if one is None else one.obligation for one in self._read_slots()]
        except OSError as error:
            self.fault = f"{self.path}: {error.strerror}"

    def add(self, obligation: ExitObligation) -> None:
        """Store an exit; it is on the disk when the call returns, unless `fault` has a reason."""
        if self._descriptor is None:
            return
        shortened = structs.replace(obligation, reason=obligation.reason[:_LONGEST_REASON])
        text = msgspec.json.encode(shortened)
        head = len(text).to_bytes(4, "big") + zlib.crc32(text).to_bytes(4, "big")
        # An exit that an earlier process stored may still be needed.
        slot = self._stored_ids.index("") if "" in self._stored_ids else self._next
        try:
            self._write(slot, head + text)
            self.fault = ""
        except OSError as error:
            self.fault = f"{self.path}: {error.strerror}"
        self._stored_ids[slot] = shortened.obligation
        self._next = (slot + 1) % SLOTS

    @property
    def has_entries(self) -> bool:
        """Return whether the journal has an exit, from memory, without reading the file."""
        return any(self._stored_ids)

    def read_entries(self) -> list[ExitObligation]:
        """Return the stored exits, in no order; empty and half-written slots are left out.

        A slot that cannot be read is left out too, and `fault` has the reason.
        """
        return [one for one in self._read_slots() if one is not None]

    def _read_slots(self) -> list[ExitObligation | None]:
        """Return the exit in each slot; None for an empty or unreadable slot."""
        found: list[ExitObligation | None] = [None] * SLOTS
        for slot in range(SLOTS if self._descriptor is not None else 0):
            try:
                block = os.pread(self._descriptor or 0, SLOT_BYTES, slot * SLOT_BYTES)
            except OSError as error:
                self.fault = f"{self.path}: {error.strerror}"
                continue
            length = int.from_bytes(block[:4], "big")
            text = block[_HEADER_BYTES : _HEADER_BYTES + length]
            if not length or zlib.crc32(text) != int.from_bytes(block[4:_HEADER_BYTES], "big"):
                continue
            try:
                found[slot] = msgspec.json.decode(text, type=ExitObligation)
            except msgspec.DecodeError as error:
                self.fault = f"{self.path}: an exit of another version of the trader: {error}"
        return found

    def remove(self, obligation: str) -> None:
        """Remove an exit; `fault` has the reason if the exit could not be removed.

        Args:
            obligation: Id of the exit obligation.
        """
        for slot in range(SLOTS):
            if self._stored_ids[slot] == obligation:
                self._clear_slot(slot)

    def clear(self) -> None:
        """Fill the file with zeros; `fault` has the reason if that failed."""
        for slot in range(SLOTS):
            self._clear_slot(slot)

    def _clear_slot(self, slot: int) -> None:
        try:
            self._write(slot, b"")
        except OSError as error:
            self.fault = f"{self.path}: {error.strerror}"
        self._stored_ids[slot] = ""

    def close(self) -> None:
        """Close the journal file; stored exits stay in it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, slot: int, content: bytes) -> None:
        if self._descriptor is None:
            return
        os.pwrite(self._descriptor, content.ljust(SLOT_BYTES, b"\0"), slot * SLOT_BYTES)
        os.fdatasync(self._descriptor)
