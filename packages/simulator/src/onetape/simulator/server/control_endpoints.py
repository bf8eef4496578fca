"""The simulator's own endpoints under /simulator: its clock, its faults and its ledger."""

from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock, SteppedClock
from onetape.core.errors import UsageError
from onetape.simulator.faults.durations import parse_span_ms
from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.clock import get_clock_kind, get_clock_speed, is_steady
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.market.price_path import END_SECONDS
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import UnknownSymbol
from onetape.simulator.recorded.replay import Replay
from onetape.simulator.server import error_replies
from onetape.simulator.server.wire import JsonObject, format_json, iterate_kline_rows, parse_json
from onetape.simulator.streams.market_streams import MarketStreamSockets
from onetape.simulator.streams.ws_api import WsApi

#: Maximum number of candles in a response to `GET /simulator/ledger`.
MAX_LEDGER_ROWS: Final = 200_000


class ControlEndpoints:
    """Endpoints that Binance does not have.

    A request that changes something, here and everywhere under /simulator, needs the header
    X-Onetape-Control (`request_guard`).

    - `GET /simulator/clock`: `{"kind": "real" | "accelerated" | "stepped", "market_ms": int,
      "speed": float, "steady": bool, "seed": int, "origin": "invented" | "recorded"}`; the speed of
      a stepped clock is its driver's pace, or 0. A steady clock is neither stepped nor held by a
      driver.
    - `GET /simulator/recordings`: `{"BTC/USDT": {"timeframe": "1h", "digest": sha256}}`, the
      recorded candles that are replayed; empty for an invented market.
    - `POST /simulator/clock {"advance_to_ms": int}`: moves a stepped clock forward and responds
      like GET once every socket has sent the events due. An earlier time moves nothing. 409
      for a clock that runs by itself.
    - `POST /simulator/disconnect {"refuse_seconds": float}` (body optional): cuts every WebSocket
      at once, and resets new ones for so long (wall time). Responds with `{"disconnected": int}`.
    - `POST /simulator/price {"symbol": "BTC/USDT", "percent": -10, "after": "2m", "for": "5m"}`:
      scripts the price of an invented market from the next whole minute on (or that after `after`),
      without `for` permanently. Responds with `{"start_ms": int, "end_ms": int | null, "factor":
      float}`.
    - `GET /simulator/ledger?symbol=&interval=&startTime=&endTime=`: the closed candles that open in
      `[startTime, endTime)`, milliseconds; `symbol` as `BTC/USDT` or `BTCUSDT`. The rows have the
      form of klines and never include the forming candle; tests compare stored candles with them.
      At most 200,000 rows, else 400.
    """

    def __init__(
        self,
        market: SimulatedMarket,
        clock: Clock,
        streams: MarketStreamSockets,
        account: WsApi,
        replay: Replay | None = None,
    ) -> None:
        """Control a market (of a replay, if any), its clock, streams and the account's sockets."""
        self._market = market
        self._replay = replay
        self._clock = clock
        self._streams = streams
        self._account = account

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        app.router.add_get("/simulator/clock", self._get_clock)
        app.router.add_get("/simulator/recordings", self._get_recordings)
        app.router.add_post("/simulator/clock", self._post_clock)
        app.router.add_post("/simulator/disconnect", self._disconnect)
        app.router.add_post("/simulator/price", self._post_price)
        app.router.add_get("/simulator/ledger", self._get_ledger)

    async def advance_to_ms(self, market_ms: int) -> None:
        """Move a stepped clock forward; return when every socket has sent the events due.

        Raises:
            TypeError: the clock runs by itself.
            UsageError: the market has no prices at that time.
        """
        if market_ms >= END_SECONDS * 1_000:
            raise UsageError("the simulated market has prices until 2041-11-24 only; step less far")
        if not isinstance(self._clock, SteppedClock):
            msg = f"only a stepped clock can be advanced; this one is {get_clock_kind(self._clock)}"
            raise TypeError(msg)
        self._clock.advance_to(market_ms)
        self._streams.wake()
        await self._streams.wait_until_sent(self._clock.now_ms())
        await self._account.wait_until_sent(self._clock.now_ms())

    def move_price(
        self, symbol: str, factor: float, start_ms: int | None = None, end_ms: int | None = None
    ) -> PriceMove:
        """Script the price of a market (see `Simulator.move_price`)."""
        now_ms = self._clock.now_ms()
        start = (now_ms if start_ms is None else start_ms) // 60_000 * 60 + 60
        end = None if end_ms is None else -(-end_ms // 60_000) * 60
        if not 0 < factor < 1_000:
            raise UsageError(f"a factor above 0 and below 1,000, found {factor:g}")
        if start * 1_000 <= now_ms or (end is not None and end <= start):
            raise UsageError(
                "a scripted price begins after the running minute, and lasts one or more"
            )
        move = PriceMove(start, end, factor)
        self._market.add_move(self._market.get_symbol(symbol), move)
        return move

    def disconnect(self, refuse_seconds: float) -> int:
        """Cut every WebSocket and refuse new ones for some wall time; return the number cut."""
        cut = self._streams.disconnect(refuse_seconds)
        return cut + self._account.disconnect(refuse_seconds)

    def get_clock_state(self) -> JsonObject:
        """Return the response to `GET /simulator/clock`."""
        return {
            "kind": get_clock_kind(self._clock),
            "market_ms": self._clock.now_ms(),
            "speed": get_clock_speed(self._clock),
            "steady": is_steady(self._clock),
            "seed": self._market.seed,
            "origin": "invented" if self._replay is None else "recorded",
        }

    async def _get_clock(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response(self.get_clock_state())

    async def _get_recordings(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response({} if self._replay is None else self._replay.compute_digests())

    async def _post_clock(self, request: web.Request) -> web.Response:
        target = (await _read_body(request)).get("advance_to_ms")
        if not isinstance(target, int) or isinstance(target, bool):
            return _make_json_response(
                {"error": "advance_to_ms must be a whole number of milliseconds"}, 400
            )
        try:
            await self.advance_to_ms(target)
        except TypeError as error:
            return _make_json_response({"error": str(error)}, 409)
        except UsageError as error:
            return _make_json_response({"error": str(error)}, 400)
        return _make_json_response(self.get_clock_state())

    async def _disconnect(self, request: web.Request) -> web.Response:
        seconds = (await _read_body(request)).get("refuse_seconds", 0.0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            return _make_json_response({"error": "refuse_seconds must be a number, 0 or more"}, 400)
        return _make_json_response({"disconnected": self.disconnect(float(seconds))})

    async def _post_price(self, request: web.Request) -> web.Response:
        body = await _read_body(request)
        try:
            move = self._script_price_move(body)
        except UnknownSymbol as error:
            return _make_json_response({"error": f"there is no market {error}"}, 400)
        except UsageError as error:
            return _make_json_response({"error": str(error)}, 400)
        except (KeyError, TypeError, ValueError):
            example = '{"symbol": "BTC/USDT", "percent": -10, "after": "2m", "for": "5m"}'
            return _make_json_response({"error": f"expected a body such as {example}"}, 400)
        end_ms = None if move.end is None else move.end * 1_000
        return _make_json_response(
            {"start_ms": move.start * 1_000, "end_ms": end_ms, "factor": move.factor}
        )

    def _script_price_move(self, body: JsonObject) -> PriceMove:
        if set(body) - {"symbol", "percent", "after", "for"}:
            raise KeyError(*body)
        start_ms = self._clock.now_ms() + parse_span_ms(str(body.get("after", "0s")))
        first_ms = (start_ms // 60_000 + 1) * 60_000
        end_ms = first_ms + parse_span_ms(str(body["for"])) if "for" in body else None
        factor = 1 + float(str(body["percent"])) / 100
        return self.move_price(str(body["symbol"]), factor, start_ms, end_ms)

    async def _get_ledger(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            symbol = self._market.get_symbol(query.get("symbol", ""))
            timeframe = TIMEFRAMES[query.get("interval", "")]
            start, end = (-(-int(query[name]) // 1_000) for name in ("startTime", "endTime"))
        except UnknownSymbol:
            raise error_replies.make_invalid_symbol_refusal() from None
        except (KeyError, ValueError):
            text = "the ledger needs symbol, interval, startTime and endTime (milliseconds)"
            return _make_json_response({"error": text}, 400)
        closed = timeframe.floor(self._clock.now_ms() // 1_000)
        start, end = max(start, timeframe.floor(symbol.listed)), min(end, closed)
        if timeframe.count_between(start, max(start, end)) > MAX_LEDGER_ROWS:
            text = f"more than {MAX_LEDGER_ROWS} candles; request a shorter range"
            return _make_json_response({"error": text}, 400)
        bars = self._market.get_bars(symbol, timeframe, start, end)
        return _make_json_response(list(iterate_kline_rows(symbol, timeframe, bars)))


async def _read_body(request: web.Request) -> JsonObject:
    try:
        body = parse_json(await request.text() or "{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = format_json({"error": "the body must be a JSON object"})
        raise web.HTTPBadRequest(text=text, content_type="application/json")
    return cast("JsonObject", body)


def _make_json_response(value: object, status: int = 200) -> web.Response:
    return web.Response(text=format_json(value), content_type="application/json", status=status)
