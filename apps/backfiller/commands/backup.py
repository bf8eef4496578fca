"""`backfiller backup` and `backfiller restore`: copy the database, and replace it by a copy."""

from pathlib import Path
from typing import Annotated

import typer

from backfiller.commands.series_selection import (
    CONFIG,
    choose_database_file,
    load_backfiller_settings,
)
from onetape.cli import options


def back_up(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="File to write.  [default: backups/NAME-TIME.db in the folder of the database]",
        ),
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    exchange: options.Exchanges = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Copy the whole database while it is in use."""
    import time

    from onetape.cli.output import print_json, print_line
    from onetape.store.backup import make_backup

    settings = load_backfiller_settings(db, config, exchange)
    path = choose_database_file(settings.db, settings.exchange)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = file or path.parent / "backups" / f"{path.stem}-{moment}.db"
    report = make_backup(path, target, replace=force)
    if json_:
        document = {"database": path, "backup": report.path, "size_bytes": report.size_bytes}
        print_json(document)
    else:
        size = f"{report.size_bytes / 1_000_000:,.1f} MB"
        print_line(f"{path} is copied to {report.path}, {size}")


def restore_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Backup to restore.")],
    *,
    exchange: options.Exchanges = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Put a backup in the database's place; the replaced file stays in the same folder."""
    from onetape.cli.output import print_json, print_line
    from onetape.store.backup import restore

    settings = load_backfiller_settings(db, config, exchange)
    path = choose_database_file(settings.db, settings.exchange)
    replaced = restore(file, path)
    if json_:
        print_json({"database": path, "backup": file, "replaced_file": replaced})
    else:
        before = f"; the database before is saved as {replaced}" if replaced else ""
        print_line(f"{path} is now the backup {file}{before}")
