"""A freqtrade strategy class as a Onetape `Strategy`.

In a backtest freqtrade computes a whole frame at once; live it computes at each candle the candles
of one request (1,000 on Binance, of which 999 have closed). Here the lookback is 999 candles, or
`startup_candle_count` + 1 if that is more. A backtest computes the whole range once, and
`backtester check` compares each signal with that of the bar's window. The first
`startup_candle_count` candles of a series give no signal.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import numpy as np

from onetape.core.candles import Candles, FloatArray
from onetape.core.errors import ConfigurationError
from onetape.core.timeframes import Timeframe
from onetape.strategies.freqtrade.import_modules import replace_freqtrade_modules
from onetape.strategies.freqtrade.informative import (
    TIMEFRAME,
    Informative,
    collect_informative_methods,
    find_rows_of_dates,
    join_columns,
)
from onetape.strategies.freqtrade.interface import TRADED_PAIR, DataProvider, IStrategy
from onetape.strategies.freqtrade.loaded_values import check_loaded
from onetape.strategies.freqtrade.parameters import (
    AdjustableParameter,
    BaseParameter,
    collect_class_parameters,
    copy_with_value,
    iterate_adjustable_parameters,
)
from onetape.strategies.freqtrade.settings_without_effect import format_settings_without_effect
from onetape.strategies.freqtrade.source import FreqtradeClass
from onetape.strategies.freqtrade.stated_settings import StatedSettings, read_settings_of_class
from onetape.strategies.freqtrade.unsupported_features import check_supported
from onetape.strategies.higher_timeframes import HigherCandles, Market
from onetape.strategies.interface import BUY, HOLD, SELL, Signals, Strategy
from onetape.strategies.parameters import parameter
from onetape.strategies.user_modules import run_file

#: Closed candles that freqtrade reads for each decision on Binance.
REQUEST_CANDLES: Final = 999
#: Columns of a frame that are not indicators.
_CANDLE_COLUMNS: Final = ("date", "open", "high", "low", "close", "volume")
_LONG_COLUMNS: Final = ("enter_long", "exit_long", "buy", "sell")
_SHORT_COLUMNS: Final = ("enter_short", "exit_short")
_TAG_COLUMNS: Final = ("enter_tag", "exit_tag", "buy_tag", "sell_tag")
_NOT_DRAWN: Final = frozenset((*_CANDLE_COLUMNS, *_LONG_COLUMNS, *_SHORT_COLUMNS, *_TAG_COLUMNS))
#: Maximum number of indicators that are drawn.
_MAX_DRAWN: Final = 40
#: An indicator this near to the price, as a ratio of medians, is drawn over the candles.
_PRICE_LIKE: Final = (0.5, 2.0)
_LONGEST_TAG: Final = 200
_RESERVED: Final = frozenset(dir(Strategy)) | {
    "user_class",
    "tables",
    "methods",
    "candle_timeframe",
    "source",
    "without_effect",
}


@dataclass(frozen=True)
class FreqtradeStrategy(Strategy):
    """Runs a freqtrade strategy class; `make_strategy_class` makes the subclass of each."""

    user_class: ClassVar[type[IStrategy]]
    """The class of the file."""
    tables: ClassVar[dict[str, BaseParameter]]
    """The class's own parameters by name."""
    methods: ClassVar[list[tuple[str, Informative]]]
    """Methods that compute indicators of higher timeframes and of other pairs."""
    candle_timeframe: ClassVar[str]
    """Timeframe that the class states."""
    source: ClassVar[FreqtradeClass]
    """The strategy class, read from the text of its file."""
    without_effect: ClassVar[str]
    """Settings of the file that have no effect here, as a sentence; empty without any."""

    @classmethod
    def read_stated_settings(cls) -> StatedSettings:
        """Return the settings that the file of the strategy states.

        Raises:
            ConfigurationError: a value cannot be used; names file and line.
        """
        return read_settings_of_class(cls.source)

    @property
    def startup_candle_count(self) -> int:
        """Number of candles at the beginning of a series that give no signal."""
        return max(0, int(type(self).user_class.startup_candle_count))

    @property
    def lookback(self) -> int:
        """Number of traded candles that the last signal depends on."""
        return max(REQUEST_CANDLES, self.startup_candle_count + 1)

    def evaluate(self, candles: Candles, higher: Mapping[str, HigherCandles]) -> Signals:
        """Return the signals of these candles; arguments as of `Strategy.evaluate`."""
        made = self._make_instance()
        frames = {
            (one.symbol or TRADED_PAIR, one.timeframe.name): _make_frame(
                _select_rows(one, candles, type(self).candle_timeframe), one.timeframe.name
            )
            for one in higher.values()
        }
        frame = _make_frame(candles, type(self).candle_timeframe)
        frames.setdefault((TRADED_PAIR, type(self).candle_timeframe), frame)
        made.dp = DataProvider(frames)
        metadata = {"pair": TRADED_PAIR}
        for name, mark in type(self).methods:
            frame = _add_informative_columns(made, name, mark, frame, candles, higher, metadata)
        frame = made.populate_indicators(frame, metadata)
        # As in freqtrade: a tag that no candle gets is an empty text.
        frame.loc[:, "enter_tag"] = ""
        frame = made.populate_entry_trend(frame, metadata)
        frame.loc[:, "exit_tag"] = ""
        frame = made.populate_exit_trend(frame, metadata)
        if len(frame) != len(candles):
            msg = f"the frame must keep its {len(candles):,} candles, found {len(frame):,}"
            raise ValueError(msg)
        find_rows_of_dates(candles.timestamp, frame, "the frame", is_whole=True)
        return _make_signals(frame, uses_exits=_uses_exits(made), startup=self.startup_candle_count)

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return tag and conditions of a candle, for the trader's line, without the indicators."""
        del holding
        texts = (signals.get_reason_text(index), signals.format_conditions(index))
        return "; ".join(text for text in texts if text)

    def _make_instance(self) -> IStrategy:
        """Return a new instance, so that evaluations share no state."""
        cls = type(self).user_class
        made = cls({})
        for name, one in type(self).tables.items():
            value = getattr(self, name) if name in self._collect_field_names() else one.value
            setattr(made, name, copy_with_value(one, value))
        return made

    @classmethod
    def _collect_field_names(cls) -> frozenset[str]:
        return frozenset(field.name for field in dataclasses.fields(cls))


def load_class(found: FreqtradeClass) -> type[FreqtradeStrategy]:
    """Run the file of a freqtrade strategy and return the strategy.

    Raises:
        ConfigurationError: the file uses a feature without an equivalent here, or cannot be run.
    """
    check_supported(found)
    _check_parameter_file(found.path)
    with replace_freqtrade_modules():
        module = run_file(found.path)
        cls = getattr(module, found.name)
        check_loaded(found, cls({}))
        # The file may use freqtrade's older name, ticker_interval.
        cls.timeframe = cls.timeframe or found.read_value("ticker_interval", "")
        made = make_strategy_class(cls, found)
    made.__module__ = module.__name__
    return made


def make_strategy_class(cls: type[IStrategy], found: FreqtradeClass) -> type[FreqtradeStrategy]:
    """Return a freqtrade class as a strategy whose parameters are the class's.

    Args:
        cls: The class.
        found: The class, read from the text of its file.
    """
    where = f"strategy class {cls.__name__} in {found.path}"
    tables = collect_class_parameters(cls)
    methods = collect_informative_methods(cls)
    namespace = {
        "name": cls.__name__,
        "user_class": cls,
        "tables": tables,
        "methods": methods,
        "candle_timeframe": cls.timeframe,
        "source": found,
        "without_effect": format_settings_without_effect(found),
        **_collect_inputs(cls, methods, where),
    }
    fields = [_make_field(where, one) for one in iterate_adjustable_parameters(tables)]
    made = dataclasses.make_dataclass(
        cls.__name__, fields, bases=(FreqtradeStrategy,), frozen=True, namespace=namespace
    )
    return cast("type[FreqtradeStrategy]", made)


def _check_parameter_file(path: Path) -> None:
    """Refuse a file of parameters that freqtrade would read in addition to the class."""
    stated = path.with_suffix(".json")
    if stated.is_file():
        raise ConfigurationError(
            f"strategy file {path}: {stated.name} next to it replaces values of the class in "
            "freqtrade and is not read here; write them into the class, and move the file away"
        )


def _make_field(where: str, one: AdjustableParameter) -> tuple[str, type, Any]:
    if one.name in _RESERVED:
        raise ConfigurationError(f"{where}: a parameter cannot be called {one.name}; rename it")
    choices: Any = one.choices
    declared = parameter(one.default, ge=one.low, le=one.high, choices=choices)
    return one.name, cast("type", one.default.__class__), declared


def _collect_inputs(
    cls: type[IStrategy], methods: Iterable[tuple[str, Informative]], where: str
) -> dict[str, Any]:
    """Return `higher_timeframes` and `informative` of the strategy: all candles that it reads.

    Raises:
        ConfigurationError: the class reads other candles than those of spot pairs.
    """
    made = cls({})
    made.dp = DataProvider({})
    pairs = [(mark.asset or TRADED_PAIR, mark.timeframe) for _, mark in methods]
    for one in made.informative_pairs():
        if len(one) > 2 and one[2] not in ("", "spot"):
            raise ConfigurationError(
                f"{where}: informative_pairs names candles of {one[2]}; only spot candles are "
                "available (docs/freqtrade.md)"
            )
        pairs.append((str(one[0]), one[1]))
    traded = cls.timeframe and Timeframe.parse(cls.timeframe)
    higher = [name for pair, name in pairs if pair == TRADED_PAIR]
    others = [Market(pair, name) for pair, name in pairs if pair != TRADED_PAIR]
    return {
        "higher_timeframes": tuple(
            name for name in dict.fromkeys(higher) if not traded or Timeframe.parse(name) != traded
        ),
        "informative": tuple(dict.fromkeys(others)),
    }


def _select_rows(one: HigherCandles, candles: Candles, timeframe: str) -> Candles:
    """Return the candles of a series; in the traded timeframe from the first traded candle on.

    As in freqtrade, frames of one timeframe have the same rows.
    """
    if one.timeframe != Timeframe.parse(timeframe):
        return one
    return one[int(np.searchsorted(one.timestamp, int(candles.timestamp[0]))) :]


def _make_frame(candles: Candles, timeframe: str) -> Any:
    """Return candles as freqtrade's DataFrame: a column `date`, rows counted from 0."""
    frame = candles.frame()
    frame = frame.reset_index(drop=True)
    moments = candles.timestamp.astype("datetime64[s]").astype("datetime64[ms]")
    frame.insert(0, "date", moments)
    frame["date"] = frame["date"].dt.tz_localize("UTC")
    frame.attrs[TIMEFRAME] = timeframe
    return frame


def _add_informative_columns(
    made: IStrategy,
    name: str,
    mark: Informative,
    frame: Any,
    candles: Candles,
    higher: Mapping[str, HigherCandles],
    metadata: dict[str, str],
) -> Any:
    """Return the traded candles with the columns of one method for other candles."""
    higher_candles = higher.get(mark.input_name)
    source = candles if higher_candles is None else higher_candles
    symbol = "" if higher_candles is None else higher_candles.symbol
    of_method = {"pair": symbol or metadata["pair"], "timeframe": mark.timeframe}
    columns = getattr(made, name)(_make_frame(source, mark.timeframe), of_method)
    candle_rows = find_rows_of_dates(source.timestamp, columns, f"the frame of {name}")
    named = columns.rename(columns={one: mark.make_column_name(one, symbol) for one in columns})
    rows = np.arange(len(candles))
    if higher_candles is None:
        return join_columns(frame, named, rows[candle_rows], rows, ffill=mark.ffill)
    known_from = np.searchsorted(higher_candles.visible, np.arange(1, len(higher_candles) + 1))
    return join_columns(frame, named, known_from[candle_rows], rows, ffill=mark.ffill)


def _uses_exits(made: IStrategy) -> bool:
    """Return whether exit signals count; `use_sell_signal` is freqtrade's older name."""
    return bool(getattr(made, "use_sell_signal", made.use_exit_signal))


def _make_signals(frame: Any, *, uses_exits: bool, startup: int) -> Signals:
    enter = _is_one(frame, "enter_long", "buy")
    leave = _is_one(frame, "exit_long", "sell")
    # As in freqtrade, a candle with both signals does nothing, even if exit signals are off.
    signal = enter.astype(np.int8) - leave.astype(np.int8)
    if not uses_exits:
        signal = np.maximum(signal, 0)
    # As in freqtrade, the first `startup` candles of a series give no signal.
    signal[:startup] = HOLD
    tags = {
        BUY: _find_tag_column(frame, "enter_tag", "buy_tag"),
        SELL: _find_tag_column(frame, "exit_tag", "sell_tag"),
    }
    reason, texts = _make_reason_codes(signal, tags)
    columns, overlays = _collect_indicators(frame)
    return Signals(
        signal,
        columns,
        overlays=overlays,
        reason=reason,
        reason_texts=texts,
        conditions=_collect_conditions(frame),
    )


def _collect_conditions(frame: Any) -> dict[str, Any]:
    """Return columns of true and false as conditions."""
    names = [name for name in frame if frame[name].dtype == bool and name not in _NOT_DRAWN]
    return {
        str(name)[:_LONGEST_TAG]: frame[name].to_numpy(copy=True) for name in names[:_MAX_DRAWN]
    }


def _is_one(frame: Any, *names: str) -> Any:
    for name in names:
        # Where no candle gets a value, pandas may make a column of no type.
        if name in frame and frame[name].dtype.kind != "V":
            return (frame[name] == 1).to_numpy(dtype=bool, copy=True)
    return np.zeros(len(frame), dtype=bool)


def _find_tag_column(frame: Any, *names: str) -> Any:
    return next((frame[name].to_numpy(dtype=object) for name in names if name in frame), None)


def _make_reason_codes(signal: Any, tags: Mapping[int, Any]) -> tuple[Any, dict[int, str]]:
    """Return a code per candle and its tag; the code of a tag does not depend on the candles."""
    codes = np.zeros(len(signal), dtype=np.int64)
    texts: dict[int, str] = {}
    for side, values in tags.items():
        if values is None:
            continue
        for row in np.flatnonzero(signal == side).tolist():
            tag: object = values[row]
            if isinstance(tag, str) and tag.strip():
                text = tag.strip()[:_LONGEST_TAG]
                code = zlib.crc32(text.encode()) + 1
                codes[row], texts[code] = code, text
    return (codes if texts else None), texts


def _collect_indicators(frame: Any) -> tuple[dict[str, FloatArray], frozenset[str]]:
    """Return columns of numbers as indicators, and those whose values are near the price."""
    found: dict[str, FloatArray] = {}
    overlays: set[str] = set()
    price = float(np.median(frame["close"]))
    for name in frame:
        if name in _NOT_DRAWN or len(found) >= _MAX_DRAWN or frame[name].dtype.kind not in "iuf":
            continue
        column = frame[name].to_numpy(dtype=np.float64, copy=True)
        label = str(name)[:_LONGEST_TAG]
        found[label] = column
        known = column[np.isfinite(column)]
        middle = float(np.median(known)) / price if len(known) and price else 0.0
        if _PRICE_LIKE[0] < middle < _PRICE_LIKE[1]:
            overlays.add(label)
    return found, frozenset(overlays)
