"""Where candles of the simulator come from: invented from a seed, or replayed from a recording.

Stored with simulated candles, so that no result of invented candles is taken for a real one.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from onetape.core.timeframes import Timeframe

#: Origin of one series. `inside recorded`: invented, but inside the prices of recorded candles of a
#: higher timeframe; `unknown`: stored by an earlier version, which did not store the origin.
Origin = Literal["invented", "recorded", "inside recorded", "unknown"]

#: Text of each origin, for output.
ORIGIN_TEXTS: Final[Mapping[Origin, str]] = {
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
    """Seed from which the simulator invents candles."""
    recordings: Mapping[str, CandleRecording] | None
    """Recordings that the simulator replays, by CCXT symbol; empty: all candles are invented; None:
    not known."""


def get_origin(
    recordings: Mapping[str, CandleRecording] | None, symbol: str, timeframe: str
) -> Origin:
    """Return the origin of the candles of a simulated series.

    Args:
        recordings: Recordings of the simulator, as in `SimulatedSource`.
        symbol: CCXT symbol of the series.
        timeframe: CCXT timeframe of the series.
    """
    if not recordings:
        return "unknown" if recordings is None else "invented"
    recording = recordings.get(symbol)
    if recording is None:
        return "unknown"
    series, recorded = Timeframe.parse(timeframe), Timeframe.parse(recording.timeframe)
    is_built = series.is_month or series.seconds % recorded.seconds == 0
    return "recorded" if is_built else "inside recorded"
