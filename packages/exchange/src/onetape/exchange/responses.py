"""Record the raw responses to requests for candles, before CCXT parses them.

CCXT's `parse_ohlcvs` sorts and drops rows, and returns no candles for HTML, null and {}. A
`CandleBatch` has every row in the order of the response, with the exchange's own text; `pages`
selects the valid candles.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import numpy as np
from msgspec import Struct, field

from onetape.core.candles import Candle, Candles, FloatArray, IntArray

#: Function that gets the status, headers and body of each response that is an HTTP error.
OnRefusal = Callable[[int, Mapping[str, str], str], None]
#: Number of CCXT's columns: time, open, high, low, close, volume.
_COLUMNS: Final = 6


@dataclass(slots=True)
class Response:
    """Response of an exchange to one request for candles."""

    body: str = ""
    """Body of the response."""
    raw: Sequence[object] = field(default_factory=list[object])
    """Rows of the response before CCXT parsed them."""
    table: FloatArray | None = None
    """CCXT's six columns, shape (n, 6), if all rows were parsed at once; otherwise None."""
    date_ms: int | None = None
    """Time in the header Date, whole seconds as epoch milliseconds; None: no date, or the response
    came from a cache."""

    @property
    def is_data(self) -> bool:
        """Whether the body is a JSON list or a JSON object that is not empty."""
        try:
            document: Any = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(document, list) or (isinstance(document, dict) and document != {})


class CandleBatch(Struct, frozen=True):
    """The candles of one response as sent: unsorted, perhaps repeated, perhaps invalid."""

    timestamp: IntArray
    """Open time, epoch seconds, shape (n,); -1: the value was not a whole second."""
    values: FloatArray
    """Open, high, low, close, volume, shape (n, 5); NaN: the value was not a number."""
    raw: Sequence[object]
    """The exchange's own rows, one for each candle."""

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]], raw: Sequence[object]) -> "CandleBatch":
        """Return the batch of rows as CCXT parses them.

        Args:
            rows: Time in milliseconds, prices and volume of each candle.
            raw: The exchange's own rows; if their number differs, `rows` are used.
        """
        try:
            table = np.array(rows, dtype=np.float64).reshape(len(rows), _COLUMNS)
        except (ValueError, TypeError):
            padded = [[*row, *[None] * _COLUMNS][:_COLUMNS] for row in rows]
            table = np.array(padded, dtype=np.float64)
        return cls.from_table(table, raw if len(raw) == len(rows) else list(rows))

    @classmethod
    def from_table(cls, table: FloatArray, raw: Sequence[object]) -> "CandleBatch":
        """Return the batch of a table.

        Args:
            table: Time in milliseconds, prices and volume, shape (n, 6).
            raw: The exchange's own rows, one for each candle.
        """
        times_ms = table[:, 0]
        whole = np.isfinite(times_ms) & (np.abs(times_ms) < 2.0**53)
        seconds = np.where(whole, times_ms, -1_000.0) / 1_000.0
        whole &= seconds == np.floor(seconds)
        timestamp = np.where(whole, seconds, -1.0).astype(np.int64)
        return cls(timestamp, table[:, 1:], raw)

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.timestamp)

    def make_candle(self, row: int) -> Candle:
        """Return the candle of a row number."""
        return Candle(int(self.timestamp[row]), *self.values[row].tolist())

    def make_candles(self) -> list[Candle]:
        """Return all candles, in the order sent."""
        rows = zip(self.timestamp.tolist(), self.values.tolist(), strict=True)
        return [Candle(timestamp, *values) for timestamp, values in rows]

    def make_columns(self, row_numbers: IntArray | None = None) -> Candles:
        """Return the candles as columns: those with the numbers `row_numbers`; None: all."""
        rows = slice(None) if row_numbers is None else row_numbers
        return Candles(self.timestamp[rows], *self.values[rows].T)

    def concat(self, later: "CandleBatch") -> "CandleBatch":
        """Return the candles of this response followed by those of another one."""
        return CandleBatch(
            np.concatenate((self.timestamp, later.timestamp)),
            np.concatenate((self.values, later.values)),
            [*self.raw, *later.raw],
        )

    def format_raw_candle(self, row: int) -> str:
        """Return the exchange's own text of the candle of a row number, as JSON."""
        return json.dumps(self.raw[row], default=str)

    @property
    def is_readable(self) -> bool:
        """Whether at least one row has a valid time or four finite prices; True without rows."""
        if not len(self):
            return True
        return bool(np.any(self.timestamp != -1) or np.any(np.isfinite(self.values[:, :4]).all(1)))


class ResponseTap:
    """Records the raw response to each request of a CCXT client, separately for each task."""

    def __init__(self, client: Any, on_refusal: OnRefusal, *, plain_rows: bool) -> None:
        """Replace the two methods of the client that every response passes through.

        Args:
            client: Instance of one of CCXT's asynchronous classes.
            on_refusal: Called with each response that is an HTTP error.
            plain_rows: Whether rows begin with CCXT's six columns, so that all rows can be parsed
                at once.
        """
        self._plain_rows = plain_rows
        self._on_refusal = on_refusal
        self._parse_one: Callable[..., list[Any]] = client.parse_ohlcv
        self._parse_all: Callable[..., list[Any]] = client.parse_ohlcvs
        # Several tasks use the client at once, and CCXT stores only the last response.
        self._response: ContextVar[Response | None] = ContextVar("response", default=None)
        client.on_rest_response = self._record
        client.parse_ohlcvs = self._parse_rows

    def capture(self) -> Response:
        """Return an empty record, which is filled with the next response in the running task."""
        response = Response()
        self._response.set(response)
        return response

    def _record(
        self,
        status: int,
        reason: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str,
        *request: object,
    ) -> str:
        """Implement CCXT's hook `on_rest_response`: called with each response, returns the body."""
        del reason, url, method, request
        if status >= 400:
            self._on_refusal(status, headers, body)
        response = self._response.get()
        if response is not None:
            response.body = body
            response.date_ms = _parse_date_ms(headers)
        return body.strip()

    def _parse_rows(
        self, ohlcvs: Any, market: Any = None, timeframe: str = "1m", *rest: Any, **more: Any
    ) -> list[Any]:
        """Return candles in place of CCXT's `parse_ohlcvs`, and store the raw rows of the response.

        Plain rows of equal form are parsed at once as a table, and returned unchanged.
        """
        response = self._response.get()
        if response is None:
            return self._parse_all(ohlcvs, market, timeframe, *rest, **more)
        if ohlcvs is None:
            return []
        if not isinstance(ohlcvs, list):
            msg = f"candles came as {type(ohlcvs).__name__}"
            raise TypeError(msg)
        raw = cast("list[object]", ohlcvs)
        response.raw = raw
        parse = self._parse_one
        if self._plain_rows and raw:
            response.table = parse_plain_table(raw)
            # CCXT's own result for the first and the last row must be equal to the table.
            ends = (0, len(raw) - 1)
            if response.table is not None and all(
                response.table[row].tolist() == parse(raw[row], market) for row in ends
            ):
                return raw
            response.table = None
        return [parse(row, market) for row in raw]


def _parse_date_ms(headers: Mapping[str, str]) -> int | None:
    """Return the time in the header Date, epoch milliseconds; None: no date, or from a cache."""
    named = {name.lower(): value for name, value in headers.items()}
    if named.get("age", "0").strip() != "0":
        return None
    try:
        moment = parsedate_to_datetime(named.get("date", ""))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)


def parse_plain_table(raw: list[Any]) -> FloatArray | None:
    """Return the first six columns of rows as floats, shape (n, 6); None: not all are numbers."""
    try:
        return np.array([row[:_COLUMNS] for row in raw], dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None


def parse_candle(row: list[Any]) -> Candle:
    """Return a row of CCXT as a candle.

    A time that is no whole second becomes -1, and a value that is no number becomes NaN.
    """
    return CandleBatch.from_rows([row], [row]).make_candle(0)
