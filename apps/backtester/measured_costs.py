"""`backtester costs`: the measured spread, and writing it to the settings file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from backtester.configuration import make_backtest_config
from backtester.settings import BacktesterSettings
from onetape.backtest.config import BacktestConfig
from onetape.backtest.spreads import MeasuredSpread, choose_spread_bps, measure_spreads
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.loading import (
    LoadedSettings,
    find_own_settings_file,
    find_settings_file,
    load_settings,
)
from onetape.cli.settings_edit import write_setting
from onetape.core.errors import DataError, UsageError

#: Setting that the measured spread is written to.
SPREAD_KEY: Final = "account.spread_bps"


class MeasuredCosts(Struct, frozen=True):
    """Measured spreads of the symbols of a backtest, and the setting made of them."""

    config: BacktestConfig
    """Configuration with exchange, symbols and database, and the costs set before."""
    spreads: list[MeasuredSpread]
    """Spread of each symbol, in the order of the symbols."""
    spread_bps: str
    """Value of the setting `spread_bps` as text, basis points of the mid price."""
    file: Path
    """Settings file that the value is written to."""
    base: Path | None
    """File that is copied to `file` first, if `file` does not exist; None: nothing is copied."""
    charged_bps: float | None = None
    """`spread_bps` of the next backtest after the value was written; None: it was not written."""

    @property
    def half_spread_bps(self) -> float:
        """Return what a market order pays with the setting, basis points of the mid price."""
        return float(self.spread_bps) / 2


def measure_costs(given: Mapping[str, Any]) -> MeasuredCosts:
    """Measure the spread of the symbols that flags, environment and settings file name.

    Args:
        given: Values of the flags by parameter name, as Typer reads them; None: not given.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the settings file or the environment cannot be used.
        DataError: the database does not exist, or holds too few tickers.
        StoreError: the database cannot be used.
    """
    read_file = find_settings_file("backtester", given["config"])
    loaded = _load_settings(read_file, given)
    with loaded.places.add_places_to_errors():
        config = make_backtest_config(loaded.settings)
        spreads = measure_spreads(config)
    file = given["config"] or find_own_settings_file("backtester")
    return MeasuredCosts(
        config=config,
        spreads=spreads,
        spread_bps=choose_spread_bps(spreads),
        file=file,
        base=None if read_file == file else read_file,
    )


def write_costs(measured: MeasuredCosts) -> MeasuredCosts:
    """Write the measured spread to the settings file, and read back what a backtest pays.

    Raises:
        DataError: the account cannot have such a spread; nothing is written.
        ConfigurationError: the file cannot be read, changed or written; nothing is changed.
    """
    try:
        replace(measured.config.account, spread_bps=float(measured.spread_bps))
    except UsageError as error:
        raise DataError(
            f"the measured spread cannot be a setting: {error}; {measured.file} is not changed"
        ) from error
    write_setting(measured.file, SPREAD_KEY, measured.spread_bps, base=measured.base)
    after = _load_settings(measured.file, {}).settings
    return replace(measured, charged_bps=after.account.spread_bps)


def _load_settings(
    file: Path | None, given: Mapping[str, Any]
) -> LoadedSettings[BacktesterSettings]:
    """Return the settings of a backtest; the file of the strategy is not read."""
    flags = collect_flag_values(BacktesterSettings, given)
    return load_settings(BacktesterSettings, "backtester", file, flags, reads_strategy=False)
