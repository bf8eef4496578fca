"""API keys: from the environment, from files (Docker secrets) or from a prompt; never from flags.

    ONETAPE_API_KEY       or ONETAPE_API_KEY_FILE
    ONETAPE_API_SECRET    or ONETAPE_API_SECRET_FILE
    ONETAPE_API_PASSWORD  or ONETAPE_API_PASSWORD_FILE    where an exchange has one, such as OKX

Keys are removed from the environment once they are read, so that child processes lack them.
"""

import stat
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import ConfigurationError

KEY: Final = "ONETAPE_API_KEY"
SECRET: Final = "ONETAPE_API_SECRET"  # noqa: S105 - the name of a variable
PASSWORD: Final = "ONETAPE_API_PASSWORD"  # noqa: S105 - the name of a variable
#: Maximum size of a key file, bytes: a mistyped path could lead to a device or a database.
_MAX_FILE_BYTES: Final = 16_384


class ApiCredentials(Struct, frozen=True):
    """API key and secret of an account at an exchange; they never appear in the record's repr."""

    key: str
    """API key."""
    secret: str
    """Secret that belongs to the key; a PEM text for keys of that kind."""
    password: str = ""
    """Passphrase that some exchanges issue together with a key; otherwise empty."""
    notes: tuple[str, ...] = ()
    """Warnings about how the credentials are stored, one sentence each."""

    def __repr__(self) -> str:
        """Return a text without the credentials."""
        return "ApiCredentials(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return no fields to programs that print records in colours."""
        return []


def read_credentials(
    environment: MutableMapping[str, str],
    *,
    needs_password: bool = False,
    prompt: Callable[[str], str] | None = None,
) -> ApiCredentials:
    """Return the API credentials from variables, files or a prompt, in this order.

    Args:
        environment: Environment variables; those that were read are removed from the mapping.
        needs_password: Whether the exchange issues a password together with a key.
        prompt: Function that reads a person's input without showing it; None: there is no terminal.

    Raises:
        ConfigurationError: a credential is missing or cannot be used; the text never contains it.
    """
    notes: list[str] = []
    names = [KEY, SECRET, *([PASSWORD] if needs_password else [])]
    values = [_read_credential(environment, name, prompt, notes) for name in names]
    return ApiCredentials(*values, notes=tuple(notes))


def _read_credential(
    environment: MutableMapping[str, str],
    name: str,
    prompt: Callable[[str], str] | None,
    notes: list[str],
) -> str:
    """Return one credential: from its variable, from the file that a variable names, or typed.

    The variables are removed from the environment.

    Args:
        environment: Environment variables; changed in place.
        name: Name of the variable.
        prompt: Requests the value from the user; None: there is no terminal.
        notes: Warnings are added to it.

    Raises:
        ConfigurationError: the credential is missing, stated twice, or unusable.
    """
    plain = environment.pop(name, "")
    file = environment.pop(f"{name}_FILE", "")
    if plain and file:
        raise ConfigurationError(f"{name} and {name}_FILE are both set: unset one of them")
    if plain:
        return _check_value(plain, name)
    if file:
        return _check_value(_read_file(Path(file), f"{name}_FILE", notes), f"{name}_FILE")
    if prompt is not None:
        return _check_value(prompt(f"{name}: "), name)
    raise ConfigurationError(
        f"{name} is not set: live orders need it, or {name}_FILE with the path of a file that "
        "holds it and nothing else"
    )


def _read_file(path: Path, name: str, notes: list[str]) -> str:
    """Return the text of a file with a credential; adds a note if other users may read the file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{name}: {path} is not a file with a key")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError:
        # The error would contain the bytes of the secret.
        raise ConfigurationError(f"{name}: {path} is not text") from None
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and Path("/run/secrets") not in path.parents:
        notes.append(f"others on this computer may read {path}: chmod 600 {path}")
    return text


def _check_value(value: str, name: str) -> str:
    """Return a credential without surrounding blanks; a PEM key with real line breaks.

    Raises:
        ConfigurationError: it is empty, or contains characters that no key has.
    """
    text = value.strip()
    is_pem = text.startswith("-----BEGIN")
    if not text:
        raise ConfigurationError(f"{name} is empty")
    if not is_pem and (not text.isascii() or any(letter.isspace() for letter in text)):
        raise ConfigurationError(
            f"{name} must be one word of letters, digits and signs: it holds a space, a line break "
            "or something that no key has"
        )
    # A key that was pasted into a .env file often has \n in place of line breaks.
    return text.replace("\\n", "\n") if is_pem else text
