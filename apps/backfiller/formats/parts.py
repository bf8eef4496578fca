"""The tables of a candle file: one, or as many as a ZIP archive has members."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from msgspec import Struct

from backfiller.formats.names import Named, named
from onetape.core.errors import DataError, UsageError

_GZIP: Final = b"\x1f\x8b"
#: What can be read, by the last suffix before a `.gz`.
SUFFIXES: Final = (".csv", ".txt", ".json", ".feather", ".parquet")


class Part(Struct, frozen=True):
    """One table, not read yet."""

    source: str
    """The file, and the member of an archive, as errors and summaries name it."""
    suffix: str
    """One of `SUFFIXES`: how to read it."""
    named: Named
    """What its name says."""
    open: Callable[[], IO[bytes]]
    """Open it for reading, decompressed; it may be opened again."""
    member: bool = False
    """Whether it is one of several tables of an archive, from which flags choose."""


def parts_of(path: Path) -> list[Part]:
    """Return the tables of a file; nothing but an archive's list is read.

    Raises:
        UsageError: there is no such file, or it is of no kind that can be read.
        DataError: the archive is damaged, or holds no tables.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    if path.suffix.lower() == ".zip":
        return _members(path)
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = plain.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path} is of no kind that can be read; known are .csv, .csv.gz, .json, .feather, "
            ".parquet, and .zip of Binance and Kraken"
        )
    return [Part(str(path), suffix, named(path), lambda: _open(path))]


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if zipped else path.open("rb")


def _members(path: Path) -> list[Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} cannot be read as ZIP: {error}; download it again") from error
    names = [PurePosixPath(info.filename) for info in infos if not info.is_dir()]
    tables = [
        name
        for name in names
        if name.suffix.lower() in (".csv", ".txt") and "__MACOSX" not in name.parts
    ]
    if not tables:
        raise DataError(f"{path} holds no .csv file")
    return [_member(path, name, several=len(tables) > 1) for name in sorted(tables)]


def _member(path: Path, name: PurePosixPath, *, several: bool) -> Part:
    def opened() -> IO[bytes]:
        # The file behind the archive stays open until the member is closed.
        with zipfile.ZipFile(path) as archive:
            return archive.open(str(name))

    said = named(name)
    if said == Named() and not several:
        said = named(path)
    return Part(f"{path}:{name.name}", name.suffix.lower(), said, opened, member=several)
