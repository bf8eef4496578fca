"""Writing of a page to a file, completely or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from onetape.core.errors import ConfigurationError
from onetape.report.data import ReportData
from onetape.report.render import render_report

#: Start of every HTML page; only a file with this start is replaced by a newer report.
_BEGINNING = b"<!doctype html>"


def write_report(data: ReportData, path: Path) -> Path:
    """Write a report as `write_page` does; return its absolute path.

    Raises:
        ConfigurationError: the folder or the file cannot be written; nothing is left behind.
    """
    return write_page(lambda: render_report(data), path)


def write_page(render: Callable[[], str], path: Path) -> Path:
    """Write a page next to its final place, then rename it; return its absolute path.

    Folders above it are made where they are missing.

    Args:
        render: Returns the page; called after the path was checked.
        path: File of the page.

    Raises:
        ConfigurationError: the folder or the file cannot be written; nothing is left behind.
    """
    target = path.expanduser().resolve()
    _refuse_to_destroy(target)
    text = render()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace_file(target, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigurationError(
            f"report {target} cannot be written: {error.strerror or error}; "
            "choose a folder that is writable"
        ) from error
    return target


def _refuse_to_destroy(target: Path) -> None:
    """Refuse a path at which there is something else than a report: a database, device or folder.

    Raises:
        ConfigurationError: the file is no report; the text names the file.
    """
    try:
        if not target.exists():
            return
        if target.is_file():
            with target.open("rb") as file:
                if file.read(len(_BEGINNING)).lower() in (_BEGINNING, b""):
                    return
    except OSError as error:
        raise ConfigurationError(
            f"report {target} cannot be read: {error.strerror or error}; choose another file"
        ) from error
    raise ConfigurationError(
        f"report {target}: a file that is not an HTML page exists there; choose another file"
    )


def _replace_file(target: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.chmod(
            0o644
        )  # mkstemp gives 0600; everyone who may read the folder may read the report
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
