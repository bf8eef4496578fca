"""Source of the simulator's candles: invented, or replayed from recorded candles."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from onetape.core.timeframes import Timeframe

#: Origin of one series. `inside recorded`: invented to fit recorded candles that are longer;
#: `unknown`: in a file of an earlier version, which did not store it.
Origin = Literal["invented", "recorded", "inside recorded", "unknown"]

ORIGIN_WORDS: Final[Mapping[Origin, str]] = {
    "invented": "invented by the simulator",
    "recorded": "replayed from recorded candles by the simulator",
    "inside recorded": "invented by the simulator to fit longer recorded candles that it replays",
    "unknown": "either invented by the simulator or replayed by it from recorded candles",
}


class CandleRecording(Struct, frozen=True):
    """Recorded candles of one symbol, as a simulator replays them."""

    timeframe: str
    """CCXT timeframe of the recorded candles."""
    digest: str
    """sha256 of the candles, hexadecimal."""


class SimulatedSource(Struct, frozen=True):
    """Source of a simulator's candles: a seed or a recording."""

    seed: int
    recordings: Mapping[str, CandleRecording] | None
    """Recordings of a replayed market by symbol; empty for an invented market, None: not known."""


def get_origin(
    recordings: Mapping[str, CandleRecording] | None, symbol: str, timeframe: str
) -> Origin:
    """Return the source of the candles of a simulated series.

    Args:
        recordings: See `SimulatedSource`.
        symbol: CCXT symbol of the series.
        timeframe: CCXT timeframe of the series.
    """
    if not recordings:
        return "unknown" if recordings is None else "invented"
    recording = recordings.get(symbol)
    if recording is None:
        return "unknown"
    wanted, recorded = Timeframe.parse(timeframe), Timeframe.parse(recording.timeframe)
    is_built = wanted.is_month or wanted.seconds % recorded.seconds == 0
    return "recorded" if is_built else "inside recorded"
