"""Results of an optimization on disk: one line for each combination, appended once evaluated.

A folder belongs to one context: the strategy's code, candles, rules, the range and its split. A
later optimization with an equal context continues in the folder, so no combination is evaluated
twice.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from onetape.backtest.storage.choices import IDENTITY
from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error
from onetape.engine import Metrics
from onetape.optimization.user_metrics import USER_METRICS

RESULTS: Final = "results.jsonl"
PAGE: Final = "optimization.html"
#: Digits of the context's digest in the folder's name.
_ID_DIGITS: Final = 10


#: Value of a stored metric; infinity is stored as null.
_Value = int | float | bool | None
#: Metrics of one part of the range; those of buy and hold are nested.
_Part = dict[str, _Value | dict[str, _Value]]
_METRICS: Final = frozenset(Metrics.__struct_fields__)


class _Line(Struct):
    """Layout of a line: metrics of both parts, or the error of the combination."""

    parameters: dict[str, Any]
    """Parameters of the combination by name."""
    in_sample: _Part | None = None
    """Metrics of the in-sample part; None in the line of a walk-forward or an error."""
    out_of_sample: _Part | None = None
    """Metrics of the out-of-sample part; None in the line of a walk-forward or an error."""
    windows: list[_Part] | None = None
    """Metrics of each training part of a walk-forward; None: an optimization or an error."""
    error: str | None = None
    """Error that the strategy raised for the combination; None: it was evaluated."""


def make_result_key(parameters: Mapping[str, Any]) -> str:
    """Return the key of a combination among the results."""
    return msgspec.json.encode(parameters, order="sorted").decode()


def make_folder_name(context: Mapping[str, Any]) -> str:
    """Return the name of the folder for a context; equal contexts have one folder."""
    digest = hashlib.sha256(json.dumps(context, sort_keys=True).encode()).hexdigest()
    symbol = str(context["symbol"]).replace("/", "-")
    return f"{context['strategy']}_{symbol}_{context['timeframe']}_{digest[:_ID_DIGITS]}"


class ResultsInMemory:
    """Results of combinations in memory, for the Python functions; as `FolderResults`."""

    def __init__(self) -> None:
        """Begin without results."""
        self._by_key: dict[str, dict[str, Any]] = {}

    def has(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a combination has a result."""
        return make_result_key(parameters) in self._by_key

    def get(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of a combination; None: not tried yet."""
        return self._by_key.get(make_result_key(parameters))

    def get_result(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a combination that was evaluated."""
        return self._by_key[make_result_key(parameters)]

    def add(self, line: bytes) -> dict[str, Any]:
        """Add the result of one combination, given as a JSON line."""
        result = msgspec.json.decode(line)
        self._by_key[make_result_key(result["parameters"])] = result
        return result


class FolderResults:
    """Results of combinations in a folder: those of earlier optimizations, and new ones."""

    def __init__(self, folder: Path, descriptor: int, user_metrics: Collection[str] = ()) -> None:
        """Read the results of earlier optimizations; an incomplete last line is cut off.

        Args:
            folder: Folder of the context.
            descriptor: File descriptor of the results file, which is locked.
            user_metrics: Names of metrics of the user, which each result must have.
        """
        self.folder = folder
        self.descriptor = descriptor
        """File descriptor of the lock file; the lock is held while it is open."""
        self._by_key: dict[str, dict[str, Any]] = {}
        content = (folder / RESULTS).read_bytes()
        whole = content.rfind(b"\n") + 1
        os.ftruncate(descriptor, whole)
        for line in content[:whole].splitlines():
            result = _decode_stored_line(folder, line, _METRICS.union(user_metrics))
            self._by_key[make_result_key(result["parameters"])] = result

    def has(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether a combination has a result; False if it failed, so it is tried again."""
        found = self._by_key.get(make_result_key(parameters))
        return found is not None and "error" not in found

    def get(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of a combination; None: not tried yet."""
        return self._by_key.get(make_result_key(parameters))

    def get_result(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of a combination that was evaluated."""
        return self._by_key[make_result_key(parameters)]

    def add(self, line: bytes) -> dict[str, Any]:
        """Append one combination's line; it is in the file when this returns.

        Raises:
            ConfigurationError: the line cannot be written; the file is unchanged.
        """
        result = msgspec.json.decode(line)
        key = make_result_key(result["parameters"])
        if result != self._by_key.get(key):  # else: it failed again with the same error
            try:
                self._append(line + b"\n")
            except OSError as error:
                raise _make_write_error(self.folder, error) from error
        self._by_key[key] = result
        return result

    def _append(self, content: bytes) -> None:
        """Append all of the content or nothing; a partial write (full disk) is cut off again."""
        end = os.fstat(self.descriptor).st_size
        try:
            while content:
                content = content[os.write(self.descriptor, content) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, end)
            raise


def _decode_stored_line(folder: Path, line: bytes, names: frozenset[str]) -> dict[str, Any]:
    """Return the result of a stored line, which has metrics of these names.

    Raises:
        ConfigurationError: the line has no result.
    """
    try:
        result = msgspec.json.decode(line)
        form = msgspec.convert(result, _Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _make_no_result_error(folder, str(error)) from error
    if form.error is None:
        for part in form.windows or (form.in_sample, form.out_of_sample):
            missing = sorted(names.difference(part or ()))
            if missing:
                raise _make_no_result_error(folder, f"it lacks {missing[0]}")
    return result


def _make_no_result_error(folder: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder / RESULTS} has a line that is not a result ({why}); delete the folder"
    )


@contextmanager
def open_results(root: Path, context: Mapping[str, Any]) -> Generator[FolderResults]:
    """Open the results of a context; only one optimization at a time has them open.

    Raises:
        ConfigurationError: the folder cannot be written, or another optimization uses it.
    """
    folder = root / make_folder_name(context)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / IDENTITY).write_text(json.dumps(context, indent=1) + "\n")
        descriptor = os.open(folder / RESULTS, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise _make_write_error(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"another optimization is running in {folder}; wait for it, then "
                "this one continues from its results"
            ) from error
        yield FolderResults(folder, descriptor, context.get(USER_METRICS, ()))
    finally:
        os.close(descriptor)


def _make_write_error(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} cannot be written: {format_os_error(error)}; run this in a folder of your own"
    )
