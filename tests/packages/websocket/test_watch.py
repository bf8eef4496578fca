"""The `watch_...` methods on the simulator, and the script of docs/websocket.md."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candle
from onetape.core.errors import UsageError
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, TickerUpdate
from onetape.websocket.subscription import merge_event
from onetape.websocket.websocket import WebSocketManager

MARCH = 1_709_251_200
MARCH_MS = MARCH * 1_000
MINUTE = 60

Run = Callable[[Any], Any]
Stepped = Callable[[int], Simulator]
Manager = Callable[..., AbstractAsyncContextManager[WebSocketManager]]


def get_simulator_candles(simulator: Simulator, opened: int, symbol: str = "BTC/USDT") -> Candle:
    bars = simulator.market.get_candles(symbol, "1m", opened, opened + MINUTE)
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Candle(*(column.tolist()[0] for column in columns))


async def await_while_market_moves(simulator: Simulator, work: Any) -> Any:
    """Await something while market time passes, ten seconds at a time."""
    task = asyncio.create_task(work)
    while not task.done():
        await simulator.advance_to_ms(simulator.clock.now_ms() + 10_000)
        await asyncio.sleep(0.005)
    return task.result()


def test_two_symbols_share_one_socket(run: Run, stepped: Stepped, manager: Manager) -> None:
    async def scene() -> None:
        async with (
            stepped(0) as simulator,
            manager(simulator.url, ["BTC/USDT", "ETH/USDT"], clock=simulator.clock) as ws,
        ):
            for symbol in ("BTC/USDT", "ETH/USDT"):
                await await_while_market_moves(simulator, ws.watch_ohlcv(symbol, "1m"))
                await await_while_market_moves(simulator, ws.watch_ticker(symbol))
            assert await simulator.disconnect() == 1

    run(scene())


def test_a_candle_that_is_marked_as_final_has_the_exchanges_values(
    run: Run, stepped: Stepped, manager: Manager
) -> None:
    async def first_closed(ws: WebSocketManager) -> Candle:
        while True:
            update = await ws.watch_ohlcv("BTC/USDT", "1m")
            for row in update.rows:
                if row.timestamp in update.closed:
                    return row

    async def scene() -> None:
        async with stepped(10_000) as simulator, manager(simulator.url) as ws:
            row = await await_while_market_moves(simulator, first_closed(ws))
            assert row == get_simulator_candles(simulator, row.timestamp)

    run(scene())


def test_trades_between_two_calls_are_returned_together_and_once_each(
    run: Run, stepped: Stepped, manager: Manager
) -> None:
    async def scene() -> None:
        async with stepped(0) as simulator, manager(simulator.url) as ws:
            first = await await_while_market_moves(simulator, ws.watch_trades("BTC/USDT"))
            ids = [int(trade.id) for trade in first.trades]
            for _ in range(30):
                await simulator.advance_to_ms(simulator.clock.now_ms() + 10_000)
            while len(ids) < 100:
                update = await await_while_market_moves(simulator, ws.watch_trades("BTC/USDT"))
                ids += [int(trade.id) for trade in update.trades]
            assert ids == list(range(ids[0], ids[0] + len(ids)))

    run(scene())


def test_a_break_is_reported_in_one_line_and_the_next_update_has_a_new_connection(
    run: Run, stepped: Stepped
) -> None:
    breaks: list[str] = []

    async def scene() -> None:
        async with stepped(0) as simulator:
            ws = await asyncio.to_thread(
                WebSocketManager,
                "simulator",
                ["BTC/USDT"],
                simulator_url=simulator.url,
                on_break=breaks.append,
            )
            async with ws:
                # Its clock requests the simulator's time, which responds in this very loop.
                ws._rest.clock = simulator.clock  # pyright: ignore[reportPrivateUsage]
                before = await await_while_market_moves(simulator, ws.watch_ohlcv("BTC/USDT", "1m"))
                await simulator.disconnect()
                after = before
                while after.connection == before.connection:
                    after = await await_while_market_moves(
                        simulator, ws.watch_ohlcv("BTC/USDT", "1m")
                    )
                assert after.connection > before.connection

    run(scene())
    assert len(breaks) == 1


def test_a_symbol_that_the_manager_was_not_opened_for_is_refused(
    run: Run, stepped: Stepped, manager: Manager
) -> None:
    async def scene() -> None:
        async with stepped(0) as simulator, manager(simulator.url) as ws:
            await ws.watch_ticker("BTC/USDC")

    with pytest.raises(UsageError, match="did you mean 'BTC/USDT'"):
        run(scene())


def test_candles_of_an_exchange_without_a_candle_stream_are_built_from_trades(
    run: Run, stepped: Stepped, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketManager, "candle_source", "trades")

    async def scene() -> None:
        async with (
            stepped(40_000) as simulator,
            manager(simulator.url, clock=simulator.clock) as ws,
        ):
            rows: dict[int, Candle] = {}
            while len(rows) < 4:
                update = await await_while_market_moves(simulator, ws.watch_ohlcv("BTC/USDT", "1m"))
                assert update.closed == frozenset()
                rows |= {row.timestamp: row for row in update.rows}
            for opened in sorted(rows)[:-1]:
                built, true = rows[opened], get_simulator_candles(simulator, opened)
                assert built[:5] == true[:5]
                # The first one begins with the row of REST, which may have some trades twice.
                assert opened == min(rows) or built.volume == pytest.approx(true.volume)

    run(scene())


def test_without_rest_the_forming_candle_has_the_received_prices(
    run: Run, stepped: Stepped, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketManager, "candle_source", "trades")
    monkeypatch.setattr("onetape.websocket.built_candles.POLL_SECONDS", 0.01)

    async def scene() -> None:
        async with (
            stepped(600_000) as simulator,
            manager(simulator.url, clock=simulator.clock) as ws,
        ):
            number = simulator.faults.add(kind="status", status=403, path="/api/v3/klines")
            first = await await_while_market_moves(simulator, ws.watch_ohlcv("BTC/USDT", "1h"))
            opening = get_simulator_candles(simulator, MARCH).open
            assert [row.timestamp for row in first.rows] == [MARCH]
            assert first.rows[0].open != opening
            simulator.faults.remove(number)
            update = first
            while update.connection == first.connection:
                update = await await_while_market_moves(simulator, ws.watch_ohlcv("BTC/USDT", "1h"))
            # A new number: the row of REST has prices that no frame brought.
            assert update.rows[0].timestamp == MARCH
            assert update.rows[0].open == opening
            assert update.rows[0].low <= first.rows[0].low

    run(scene())


def test_candles_are_polled_where_no_stream_has_them(
    run: Run, stepped: Stepped, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketManager, "candle_source", "polling")
    monkeypatch.setattr("onetape.websocket.built_candles.POLL_SECONDS", 0.01)

    async def scene() -> None:
        async with (
            stepped(90_000) as simulator,
            manager(simulator.url, clock=simulator.clock) as ws,
        ):
            first = await ws.watch_ohlcv("BTC/USDT", "1m")
            assert first.rows[0] == get_simulator_candles(simulator, MARCH)
            await simulator.advance_to_ms(MARCH_MS + 130_000)
            second = await ws.watch_ohlcv("BTC/USDT", "1m")
            assert second.rows[0] == get_simulator_candles(simulator, MARCH + MINUTE)
            assert (first.closed, second.closed) == (frozenset(), frozenset())
            assert await simulator.disconnect() == 0

    run(scene())


def test_the_script_of_the_documentation_runs(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (repository / "docs/websocket.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    clock = make_clock(start_ms=MARCH_MS + 50_000, speed=60)
    with embedded_simulator(clock=clock) as simulator:
        here = script.replace('"ETH/USDT"])', f'"ETH/USDT"], simulator_url="{simulator.url}")')
        assert here != script
        exec(compile(here, "watch.py", "exec"), {})  # noqa: S102 - the page's own script
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"closed: \d+(\.\d+)?", lines[2])


def make_candle_update(rows: list[Candle], connection: int) -> CandleUpdate:
    newest = {row.timestamp: row for row in sorted(rows)}
    closed = frozenset(row.timestamp for row in rows[:1])
    return CandleUpdate(tuple(newest.values()), connection, closed)


def make_ticker_update(last: float) -> TickerUpdate:
    return TickerUpdate(None, None, None, last)


ROWS = st.lists(
    st.builds(Candle, st.integers(0, 4), *[st.floats(1, 9)] * 5), min_size=1, max_size=3
)
EVENTS = st.one_of(
    st.builds(make_candle_update, ROWS, st.integers(1, 3)),
    st.builds(StreamLost, st.sampled_from(["a", "b"])),
    st.builds(make_ticker_update, st.floats(1, 9)),
)


@given(st.lists(EVENTS, max_size=20))
def test_a_late_reader_gets_the_newest_row_of_each_candle_and_one_event_of_each_kind(
    events: list[StreamEvent],
) -> None:
    waiting: list[StreamEvent] = []
    for event in events:
        waiting = merge_event(waiting, event)
    assert len({type(each) for each in waiting}) == len(waiting)
    assert not events or waiting[-1] == events[-1] or isinstance(waiting[-1], CandleUpdate)
    sent = [event for event in events if isinstance(event, CandleUpdate)]
    left = [event for event in waiting if isinstance(event, CandleUpdate)]
    rows = {row.timestamp: row for event in sent for row in event.rows}
    assert {row.timestamp: row for event in left for row in event.rows} == rows
    assert [each.closed for each in left] == (
        [frozenset[int]().union(*(each.closed for each in sent))] if sent else []
    )
