"""Creates the folder of a log or heartbeat file."""

from pathlib import Path

from onetape.core.errors import ConfigurationError


def make_folder_of(file: Path, setting: str) -> None:
    """Create the folder of a file if it does not exist.

    Args:
        file: The file, which is not touched.
        setting: Setting that names the file.

    Raises:
        ConfigurationError: the folder cannot be made.
    """
    folder = file.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{setting} {file}: its folder cannot be made: {error.strerror or error}; "
            "name another file"
        ) from error
