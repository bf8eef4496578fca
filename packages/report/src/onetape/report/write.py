"""Write a report so that a reader never meets half of one."""

import os
import tempfile
from pathlib import Path

from onetape.core.errors import ConfigurationError
from onetape.report.data import ReportData
from onetape.report.render import render_report


def write_report(data: ReportData, path: Path) -> Path:
    """Write the report beside its final place, then rename it; return its absolute path.

    Folders above it are made where they are missing.

    Raises:
        ConfigurationError: the folder or the file cannot be written; nothing is left behind.
    """
    target = path.expanduser().resolve()
    text = render_report(data)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigurationError(
            f"report {target} cannot be written: {error.strerror or error}; "
            "choose a folder that is writable"
        ) from error
    return target


def _replace(target: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.chmod(0o644)  # mkstemp gives 0600; a report is for whoever may read the folder
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
