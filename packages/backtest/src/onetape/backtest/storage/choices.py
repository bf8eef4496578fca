"""The parameters that saved optimizations and walk-forwards have chosen: `choice.json`.

The file is in the folder of the run. An optimization chooses its best ranked combination, a
walk-forward that of its newest window. `--params-from RUN` of backtester and trader reads it.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from onetape.core.clock import format_day
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.folders import DATA_FOLDER
from onetape.core.message_text import format_count, format_os_error

OPTIMIZATIONS: Final = DATA_FOLDER / "optimizations"
WALK_FORWARDS: Final = DATA_FOLDER / "walk_forwards"
#: File with the identity of a run, by which folders of results are recognised.
IDENTITY: Final = "optimization.json"
CHOICE: Final = "choice.json"
#: Version of the layout of `choice.json`.
_FORMAT: Final = 1
#: Maximum number of similar names in the error about a name that does not exist.
_MAX_LISTED: Final = 3
#: Minimum similarity, from 0 to 1, of these names.
_MIN_SIMILARITY: Final = 0.3


class Choice(Struct, frozen=True, kw_only=True):
    """Parameters that an optimization or a walk-forward has chosen, and the candles it used."""

    format: int = _FORMAT
    """Version of the layout."""
    kind: Literal["optimization", "walk-forward"]
    """Kind of the run that chose."""
    strategy: str
    """Strategy as `--strategy` takes it."""
    exchange: str
    symbol: str
    timeframe: str
    rank: list[str]
    """Metrics that ranked the combinations."""
    min_trades: int
    """Closed trades that a combination needed to be ranked."""
    start: int
    """Start of the candles that the choice was made on, epoch seconds."""
    end: int
    """End of the candles that the choice was made on, exclusive, epoch seconds."""
    windows: int = 0
    """Number of windows of a walk-forward; the last window chose. 0 for an optimization."""
    parameters: dict[str, str] | None
    """Chosen values as `--param` takes them; None: no combination was ranked."""
    settings: dict[str, str] = {}
    """Chosen settings of account and exits, by their keys in a settings file."""
    strategy_digest: str | None = None
    """SHA-256 of the strategy's file, empty for a built-in one; None: an earlier version's run."""


class SavedChoice(Struct, frozen=True):
    """A choice with the folder that it is saved in; it has parameters."""

    folder: Path
    """Folder of the run."""
    choice: Choice
    """The choice that the folder has."""

    @property
    def parameters(self) -> dict[str, str]:
        """Return the chosen values, as `--param` takes them."""
        return dict(self.choice.parameters or {})

    @property
    def origin(self) -> str:
        """Return the text that names the run, window and candles that the parameters come from."""
        choice = self.choice
        window = f", window {choice.windows:,} of {choice.windows:,}" if choice.windows else ""
        series = f"{choice.exchange} {choice.symbol} {choice.timeframe}"
        return (
            f"{choice.kind} {self.folder.name}{window} (best by {', '.join(choice.rank)} "
            f"on {series}, {_format_range(choice)})"
        )

    def check_series(self, symbols: Sequence[str], timeframe: str) -> None:
        """Refuse to use the parameters on another market or timeframe than they were chosen on.

        Args:
            symbols: Symbols that would be traded with the parameters.
            timeframe: Timeframe of the candles.

        Raises:
            UsageError: a symbol or the timeframe is another one; the text names both.
        """
        choice = self.choice
        others = [symbol for symbol in symbols if symbol != choice.symbol]
        if others or not symbols:
            wrong = ", ".join(others) or "only symbols for which another strategy is set"
            raise UsageError(
                f"--params-from {self.folder.name}: its parameters were chosen on {choice.symbol}, "
                f"and the settings trade {wrong}; add --symbol {choice.symbol}, or name a run of "
                f"{others[0] if others else 'the traded symbol'}"
            )
        if timeframe != choice.timeframe:
            raise UsageError(
                f"--params-from {self.folder.name}: its parameters were chosen on candles of "
                f"{choice.timeframe}, and the settings trade {timeframe}; add --timeframe "
                f"{choice.timeframe}, or name a run of {timeframe}"
            )


def save_choice(folder: Path, choice: Choice) -> None:
    """Write the choice into the folder of its run; an earlier choice is replaced as a whole.

    Raises:
        ConfigurationError: the file cannot be written; an earlier choice is unchanged.
    """
    content = msgspec.json.format(msgspec.json.encode(choice), indent=1) + b"\n"
    path = folder / CHOICE
    partial = folder / f".{CHOICE}.{os.getpid()}"
    try:
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {format_os_error(error)}; make room or fix its permissions"
        ) from error


def load_choice(name: str, roots: Sequence[Path] = (OPTIMIZATIONS, WALK_FORWARDS)) -> SavedChoice:
    """Return the choice of a saved optimization or walk-forward.

    Args:
        name: Name of the run's folder, the id at the end of that name, the beginning of either, or
            the path of the folder.
        roots: Folders of the saved runs.

    Raises:
        UsageError: no run has that name, several have, or the run has no choice.
        ConfigurationError: the choice cannot be read.
    """
    given = Path(name)
    if given.name != name and given.is_dir():
        if not (given / IDENTITY).is_file():
            raise UsageError(
                f"--params-from {name}: the folder has no {IDENTITY}; name the folder of an "
                "optimization or of a walk-forward"
            )
        return _read_choice(given.resolve())
    folders = _list_run_folders(roots)
    text = given.name
    found = [folder for folder in folders if text in (folder.name, _get_id(folder))] or [
        folder
        for folder in folders
        if text and (folder.name.startswith(text) or _get_id(folder).startswith(text))
    ]
    if len(found) == 1:
        return _read_choice(found[0])
    if found:
        names = ", ".join(folder.name for folder in found[:_MAX_LISTED])
        raise UsageError(
            f"--params-from {name}: {len(found):,} runs have such a name, such as {names}; write "
            "more of one"
        )
    if not folders:
        raise UsageError(
            f"--params-from {name}: no optimization is saved in "
            f"{' or '.join(str(root) for root in roots)}; run: uv run backtester optimize"
        )
    raise UsageError(
        f"--params-from {name}: no optimization or walk-forward has that name; the nearest: "
        f"{', '.join(_find_similar_names(text, folders))}"
    )


def _list_run_folders(roots: Sequence[Path]) -> list[Path]:
    """Return the folders of all saved optimizations and walk-forwards, by their names.

    Raises:
        ConfigurationError: a folder cannot be read.
    """
    try:
        found = [path.parent for root in roots for path in root.glob(f"*/{IDENTITY}")]
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or roots[0]} cannot be read: {format_os_error(error)}; "
            "fix its permissions"
        ) from error
    return sorted(found, key=lambda folder: folder.name)


def _find_similar_names(text: str, folders: Sequence[Path]) -> list[str]:
    """Return the names of runs that are most similar to a wrong name, or else some names."""
    names = [folder.name for folder in folders]
    near = difflib.get_close_matches(text, names, n=_MAX_LISTED, cutoff=_MIN_SIMILARITY)
    return near or names[:_MAX_LISTED]


def _read_choice(folder: Path) -> SavedChoice:
    """Return the choice in the folder of a run; raises the errors of `load_choice`."""
    path = folder / CHOICE
    try:
        choice = msgspec.json.decode(path.read_bytes(), type=Choice)
    except FileNotFoundError as error:
        raise UsageError(
            f"--params-from {folder.name}: the run has no choice yet, because it was not finished, "
            "or an earlier version made it; run its command again, which uses its results"
        ) from error
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        why = format_os_error(error) if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"{path} cannot be read ({why}); run the command of its optimization again"
        ) from error
    if choice.format != _FORMAT:
        raise ConfigurationError(
            f"{path} is of format {choice.format}, which another version wrote; run the command of "
            "its optimization again"
        )
    if choice.parameters is None:
        trades = format_count(choice.min_trades, "closed trade")
        raise UsageError(
            f"--params-from {folder.name}: the run has no choice, "
            f"because no combination gave a result with {trades} ({_format_range(choice)}); "
            "optimize a longer range, or lower --min-trades"
        )
    return SavedChoice(folder, choice)


def _format_range(choice: Choice) -> str:
    """Return the range that a choice was made on: `training 2024-01-01 to 2024-03-01 UTC`."""
    part = "training" if choice.windows else "in-sample"
    return f"{part} {format_day(choice.start)} to {format_day(choice.end)} UTC"


def _get_id(folder: Path) -> str:
    """Return the id of a run, the last part of its folder's name."""
    return folder.name.rpartition("_")[2]
