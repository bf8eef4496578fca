"""What an exchange really sent: heard before CCXT drops from it what it cannot read.

CCXT's `parse_ohlcvs` sorts, cuts and leaves out rows, and takes HTML, null and {} for "no candles".
Here every row stays, in the order sent, with the exchange's own text; the pager decides.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from msgspec import Struct, field

from onetape.core.candles import Candle, Candles, FloatArray, IntArray

#: Told the status, headers and body of each answer that is an error.
OnRefusal = Callable[[int, Mapping[str, str], str], None]
_COLUMNS: Final = 6


@dataclass(slots=True)
class Answer:
    """What one read was answered."""

    body: str = ""
    raw: Sequence[object] = field(default_factory=list[object])
    """The rows before CCXT read them."""
    table: FloatArray | None = None
    """What CCXT would read, shape (n, 6), where all rows were read at once."""

    @property
    def is_data(self) -> bool:
        """Whether the body is a list, or a document with something in it."""
        try:
            document: Any = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(document, list) or (isinstance(document, dict) and document != {})


class Batch(Struct, frozen=True):
    """The candles of one answer as they were sent: in any order, perhaps twice, perhaps unsound."""

    timestamp: IntArray
    """Open, epoch seconds, shape (n,); -1 where it was no time in whole seconds."""
    values: FloatArray
    """Open, high, low, close, volume, shape (n, 5); what was no number is NaN."""
    raw: Sequence[object]
    """The exchange's own rows, one for each candle."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]], raw: Sequence[object]) -> "Batch":
        """Return the batch of CCXT's rows (milliseconds first)."""
        try:
            table = np.array(rows, dtype=np.float64).reshape(len(rows), _COLUMNS)
        except (ValueError, TypeError):
            padded = [[*row, *[None] * _COLUMNS][:_COLUMNS] for row in rows]
            table = np.array(padded, dtype=np.float64)
        return cls.of_table(table, raw if len(raw) == len(rows) else list(rows))

    @classmethod
    def of_table(cls, table: FloatArray, raw: Sequence[object]) -> "Batch":
        """Return the batch of a table: milliseconds, prices and volume, shape (n, 6)."""
        times_ms = table[:, 0]
        whole = np.isfinite(times_ms) & (np.abs(times_ms) < 2.0**53)
        seconds = np.where(whole, times_ms, -1_000.0) / 1_000.0
        whole &= seconds == np.floor(seconds)
        timestamp = np.where(whole, seconds, -1.0).astype(np.int64)
        return cls(timestamp, table[:, 1:], raw)

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.timestamp)

    def candle(self, place: int) -> Candle:
        """Return one candle."""
        return Candle(int(self.timestamp[place]), *self.values[place].tolist())

    def candles(self) -> list[Candle]:
        """Return all candles, in the order sent."""
        rows = zip(self.timestamp.tolist(), self.values.tolist(), strict=True)
        return [Candle(timestamp, *values) for timestamp, values in rows]

    def columns(self, places: IntArray | None = None) -> Candles:
        """Return the candles as columns: all, in the order sent, or those at some places."""
        rows = slice(None) if places is None else places
        return Candles(self.timestamp[rows], *self.values[rows].T)

    def joined(self, later: "Batch") -> "Batch":
        """Return these candles followed by those of another answer."""
        return Batch(
            np.concatenate((self.timestamp, later.timestamp)),
            np.concatenate((self.values, later.values)),
            [*self.raw, *later.raw],
        )

    def text(self, place: int) -> str:
        """Return the exchange's own text of one candle."""
        return json.dumps(self.raw[place], default=str)

    @property
    def is_readable(self) -> bool:
        """Whether these are candles at all: one of them has a time, or prices."""
        if not len(self):
            return True
        return bool(np.any(self.timestamp != -1) or np.any(np.isfinite(self.values[:, :4]).all(1)))


class Listener:
    """Sits in a CCXT client and hears each answer in the task that asked for it."""

    def __init__(self, client: Any, on_refusal: OnRefusal, *, plain_rows: bool) -> None:
        """Put ourselves into the two places of the client through which answers go.

        Args:
            client: Of CCXT's asynchronous classes.
            on_refusal: Called with each answer that is an error.
            plain_rows: Rows begin with the columns that CCXT gives: it need not read each of them.
        """
        self._plain_rows = plain_rows
        self._on_refusal = on_refusal
        self._parse_one: Callable[..., list[Any]] = client.parse_ohlcv
        self._parse_all: Callable[..., list[Any]] = client.parse_ohlcvs
        # Tasks of one client run at the same time, and CCXT remembers the last answer only.
        self._answer: ContextVar[Answer | None] = ContextVar("answer", default=None)
        client.on_rest_response = self._heard
        client.parse_ohlcvs = self._parsed

    def expect(self) -> Answer:
        """Return where the next answer to the running task will be."""
        answer = Answer()
        self._answer.set(answer)
        return answer

    def _heard(
        self,
        status: int,
        reason: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str,
        *request: object,
    ) -> str:
        """Take CCXT's place for a hook of its own: called with each answer, returns the body."""
        del reason, url, method, request
        if status >= 400:
            self._on_refusal(status, headers, body)
        answer = self._answer.get()
        if answer is not None:
            answer.body = body
        return body.strip()

    def _parsed(
        self, ohlcvs: Any, market: Any = None, timeframe: str = "1m", *rest: Any, **more: Any
    ) -> list[Any]:
        answer = self._answer.get()
        if answer is None:
            return self._parse_all(ohlcvs, market, timeframe, *rest, **more)
        if ohlcvs is None:
            return []
        if not isinstance(ohlcvs, list):
            msg = f"candles came as {type(ohlcvs).__name__}"
            raise TypeError(msg)
        raw = cast("list[object]", ohlcvs)
        answer.raw = raw
        parse = self._parse_one
        if self._plain_rows and raw:
            answer.table = plain_table(raw)
            # CCXT has the last word on what a row means: its reading of both ends must agree.
            ends = (0, len(raw) - 1)
            if answer.table is not None and all(
                answer.table[place].tolist() == parse(raw[place], market) for place in ends
            ):
                return raw
            answer.table = None
        return [parse(row, market) for row in raw]


def plain_table(raw: list[Any]) -> FloatArray | None:
    """Return the first six columns of rows as numbers, shape (n, 6), or None where some are not."""
    try:
        return np.array([row[:_COLUMNS] for row in raw], dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
