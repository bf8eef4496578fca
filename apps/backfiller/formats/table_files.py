"""The tables of a candle file: one, or as many as a ZIP archive has members with candles.

A `TableFile` is a table before it is read: its name, the facts in the name, and how to open it.
"""

import gzip
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from msgspec import Struct

from backfiller.formats.file_names import NameFacts, parse_file_name
from onetape.cli.output import note
from onetape.core.errors import DataError, UsageError
from onetape.core.message_text import format_count, format_error, format_os_error
from onetape.core.printable import escape_unprintable

#: First bytes of a gzip file.
_GZIP: Final = b"\x1f\x8b"
#: Suffixes of the readable file types; `.gz` may follow.
SUFFIXES: Final = (".csv", ".txt", ".json", ".feather", ".parquet")
#: Suffixes of archive members that are readable; other members are left out.
_MEMBER_SUFFIXES: Final = (".csv", ".txt", ".json")
#: Bit of `ZipInfo.flag_bits` that marks an encrypted member.
_ENCRYPTED: Final = 0x1
#: Maximum unpacked size of a table, bytes; five years of 1s candles have 160 million rows.
MOST_BYTES: Final = 8 * 2**30


class TableFile(Struct, frozen=True):
    """One table, a file or a member of a ZIP archive; its rows are not read yet."""

    source: str
    """Printable path of the file, or `ARCHIVE:MEMBER`, for errors and summaries."""
    suffix: str
    """Suffix that decides how the table is read, one of `SUFFIXES`."""
    name_facts: NameFacts
    """Facts that the name of the table states."""
    open: Callable[[], IO[bytes]]
    """Opens the decompressed table for reading; each call opens it again."""
    is_archive_member: bool = False
    """Whether the archive has other tables too, so that flags choose among them."""
    is_packed: bool = False
    """Whether the table is compressed: a small file may unpack to a large one."""


def list_table_files(path: Path, archives: ExitStack) -> list[TableFile]:
    """Return the tables of a file; only the list of members of an archive is read.

    Args:
        path: Path of the file.
        archives: Exit stack that an opened archive is added to; the caller closes it after reading.

    Raises:
        UsageError: file not found, or it is of no kind that can be read.
        DataError: the archive is damaged or encrypted, or holds no tables.
    """
    source = escape_unprintable(str(path))
    if not path.is_file():
        raise UsageError(f"{source}: file not found")
    if path.suffix.lower() == ".zip":
        return _list_archive_members(path, source, archives)
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = plain.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{source} is of no kind that can be read; known are .csv, .csv.gz, .json, .feather, "
            ".parquet, and .zip of Binance and Kraken"
        )
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == _GZIP
    except OSError as error:
        raise DataError(f"{source} cannot be read: {format_os_error(error)}") from error

    def open_table() -> IO[bytes]:
        return cast("IO[bytes]", gzip.open(path, "rb")) if is_packed else path.open("rb")

    return [
        TableFile(source, suffix, parse_file_name(path.absolute()), open_table, is_packed=is_packed)
    ]


def _list_archive_members(path: Path, source: str, archives: ExitStack) -> list[TableFile]:
    """Return the tables in a ZIP archive, by name; prints a note if other members are left out.

    Raises:
        DataError: the archive is damaged, or holds no tables.
    """
    # All members share one `ZipFile`: reading the list of an archive with thousands takes long.
    try:
        archive = archives.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{source} cannot be read as ZIP: {format_error(error)}; download it again"
        ) from error
    infos = [info for info in archive.infolist() if not info.is_dir()]
    named_infos = [(PurePosixPath(info.filename), info) for info in infos]
    visible = [each for each in named_infos if "__MACOSX" not in each[0].parts]
    tables = [each for each in visible if each[0].suffix.lower() in _MEMBER_SUFFIXES]
    if not tables:
        inner = any(name.suffix.lower() in (".zip", ".gz", ".7z", ".rar") for name, _ in visible)
        hint = ", only other archives; unpack it and import those" if inner else ""
        raise DataError(f"{source} holds no .csv file{hint}")
    if len(tables) < len(visible):
        others = [
            escape_unprintable(name.name)
            for name, _ in visible
            if name.suffix.lower() not in _MEMBER_SUFFIXES
        ]
        example = f" (such as {others[0]})" if len(others) > 1 else f" ({others[0]})"
        note(f"{source}: left out, no tables: {format_count(len(others), 'member')}{example}")
    tables.sort(key=lambda each: each[0])
    several = len(tables) > 1
    return [_make_member_table(path, source, archive, *each, several=several) for each in tables]


def _make_member_table(
    path: Path,
    source: str,
    archive: zipfile.ZipFile,
    name: PurePosixPath,
    info: zipfile.ZipInfo,
    *,
    several: bool,
) -> TableFile:
    """Return the table of an archive member; `several`: the archive has other tables too."""
    member = f"{source}:{escape_unprintable(name.name)}"

    def open_table() -> IO[bytes]:
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{member} is encrypted; unpack it with its password and import that")
        if info.file_size > MOST_BYTES:
            raise make_too_large_error(member)
        return archive.open(info)

    name_facts = parse_file_name(name)
    archive_facts = parse_file_name(path.absolute())
    is_other_kind = name_facts.other_kind is None and archive_facts.other_kind is not None
    if is_other_kind or (name_facts == NameFacts() and not several):
        name_facts = archive_facts
    suffix = name.suffix.lower()
    return TableFile(
        member, suffix, name_facts, open_table, is_archive_member=several, is_packed=True
    )


def make_too_large_error(source: str) -> DataError:
    """Return the error of a table that unpacks to more than `MOST_BYTES`."""
    return DataError(
        f"{source} unpacks to more than {MOST_BYTES // 2**30} GiB, which no table of candles does; "
        "split it, or get it again"
    )
