"""What a run's manifest must hold, so that nothing behind it meets junk.

Only what the commands read; more may stand in it. A new field of the metrics or of the check that
has no default here makes older manifests unreadable: it is another format then.
"""

from typing import Annotated, Any, Final

import msgspec

from onetape.engine import Metrics

#: Of 9999, after which no calendar goes on.
_LAST_SECOND: Final = 253_402_300_799

#: Epoch seconds.
Moment = Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]
_Decimals = Annotated[int, msgspec.Meta(ge=0, le=20)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class KeptCheck(msgspec.Struct, frozen=True):
    """`Look`, each field of which must be there."""

    text: str
    clean: bool | None
    bars_checked: _Count
    bars: _Count
    differing: _Count
    first_bad_bar: Moment | None
    kind: str | None


class KeptResult(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """A run's document without its trades."""

    exchange: str
    symbol: str
    timeframe: str
    from_: Moment
    to: Moment
    candles: _Count
    warm_up: _Count
    strategy: str
    parameters: dict[str, Any]
    assumptions: dict[str, Any]
    check: KeptCheck
    notes: list[str]
    metrics: Metrics
    seconds: float
    database: str
    report: str | None
    run: str | None
    symbols: list[str] = []
    """Of a run over several."""
    digits: dict[str, dict[str, _Decimals]] = {}
    """Decimals of prices, money and amounts, by symbol; manifests of older versions have none."""


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`."""

    made: str
    versions: dict[str, str]
    digests: dict[str, str]
    settings: dict[str, Any]
    result: KeptResult


def check_manifest(manifest: object) -> None:
    """Refuse what is no manifest of this format.

    Raises:
        msgspec.ValidationError: something is missing or of another type; the text says where.
    """
    msgspec.convert(manifest, Manifest)
