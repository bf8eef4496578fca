"""Where the results of a search are kept: one line for each combination, appended as it comes.

A folder belongs to what its results depend on: strategy's code, candles, rules, the range and its
split. Whatever is searched on the same ground later goes on in it, so that nothing is tried twice
and the number of combinations tried is that of all searches.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from onetape.core.errors import ConfigurationError
from onetape.core.words import error_text

RESULTS: Final = "results.jsonl"
GROUND: Final = "search.json"
PAGE: Final = "search.html"
#: Digits of the ground's digest in the folder's name.
_ID_DIGITS: Final = 10


def key_of(parameters: Mapping[str, Any]) -> str:
    """Return what names a combination among the results."""
    return msgspec.json.encode(parameters, order="sorted").decode()


def folder_name(ground: Mapping[str, Any]) -> str:
    """Return the folder's name: equal grounds share it."""
    digest = hashlib.sha256(json.dumps(ground, sort_keys=True).encode()).hexdigest()
    symbol = str(ground["symbol"]).replace("/", "-")
    return f"{ground['strategy']}_{symbol}_{ground['timeframe']}_{digest[:_ID_DIGITS]}"


class Results:
    """The results of one ground: those that were there, and new ones as they come."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        """Read what is there; the half line of a killed search is cut off."""
        self.folder = folder
        self._descriptor = descriptor
        self.by_key: dict[str, dict[str, Any]] = {}
        content = (folder / RESULTS).read_bytes()
        whole = content.rfind(b"\n") + 1
        os.ftruncate(descriptor, whole)
        for line in content[:whole].splitlines():
            self._keep(line)

    def add(self, line: bytes) -> dict[str, Any]:
        """Append one combination's line; it is in the file when this returns."""
        try:
            os.write(self._descriptor, line + b"\n")
        except OSError as error:
            raise _failed(self.folder, error) from error
        return self._keep(line)

    def _keep(self, line: bytes) -> dict[str, Any]:
        try:
            result = msgspec.json.decode(line)
            key = key_of(result["parameters"])
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.folder / RESULTS} has a line that is no result ({error}); delete the folder"
            ) from error
        self.by_key[key] = result
        return result


@contextmanager
def opened(root: Path, ground: Mapping[str, Any]) -> Generator[Results]:
    """Give the results of a ground, for one search at a time.

    Raises:
        ConfigurationError: the folder cannot be written, or another search is at it.
    """
    folder = root / folder_name(ground)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / GROUND).write_text(json.dumps(ground, indent=1) + "\n")
        descriptor = os.open(folder / RESULTS, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise _failed(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"another search is at work in {folder}; wait for it, then this one goes on from it"
            ) from error
        yield Results(folder, descriptor)
    finally:
        os.close(descriptor)


def tried_elsewhere(root: Path, ground: Mapping[str, Any]) -> int:
    """Return how many combinations other searches tried of this strategy on this series.

    That is with other code, ranges, rules or splits.
    """
    combinations = 0
    same = ("exchange", "symbol", "timeframe", "strategy")
    for path in sorted(root.glob(f"*/{GROUND}")):
        if path.parent.name == folder_name(ground):
            continue
        try:
            other = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            lines = (path.parent / RESULTS).read_bytes().count(b"\n")
        except (OSError, msgspec.DecodeError):
            continue  # not a folder of ours any more; it says nothing of what was tried
        if all(other.get(name) == ground[name] for name in same):
            combinations += lines
    return combinations


def _failed(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} cannot be written: {error_text(error)}; run this in a folder of your own"
    )
