"""A session with a refused stop and a broken stream: the level sells once."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from msgspec import structs

from bounded_run import run_bounded
from live_desk import BALANCE, QUICK
from onetape.engine import ExitConfig
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.price_moves import PriceMove
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket, open_market, open_session
from strategy_sources import make_scripted_source

REFUSED = Fault(
    "status", method="POST", path="/api/v3/order", nth=2, count=1, when="before", status=400,
    code=-2010, text="Order would trigger immediately.",
)  # fmt: skip


async def fall(opened: SteppedMarket, trading: SessionHarness) -> None:
    """Cut the stream, forget its prices, and let the market fall by a tenth within the hour."""
    opened.proxy.refuses_sockets = True
    opened.proxy.cut()
    await trading.until(lambda: not trading.is_live)
    with trading.store.write() as connection:
        connection.execute("DELETE FROM ticker_data")
    symbol = opened.simulator.market.get_symbol("BTC/USDT")
    start = MARCH + HOUR + HOUR // 2
    opened.simulator.market.add_move(symbol, PriceMove(start, None, 0.9))
    await opened.go_to(1.6)


def test_a_level_that_the_price_passes_while_the_stream_is_down_sells_once_by_the_rules(
    db: Path, strategy_file: Callable[..., str]
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25, balance=BALANCE, faults=[REFUSED]) as opened,
            open_session(
                opened,
                db,
                strategy=strategy_file(make_scripted_source([0], [3]), "scripted"),
                exits=ExitConfig(stop_loss=0.05),
                cash="1000",
                live=structs.replace(QUICK, stop_again=3_600.0),
            ) as trading,
        ):
            await trading.until_live(opened)
            await opened.go_to(1.1)
            await trading.until(lambda: trading.fills())
            await trading.until(
                lambda: trading.query("SELECT 1 FROM stop_states WHERE place = 'here'")
            )
            await fall(opened, trading)
            await trading.until(lambda: [one.side for one in trading.fills()] == ["buy", "sell"])
            (bought, sold) = trading.fills()
            assert sold.price < bought.price * Decimal("0.95")
            cause = "SELECT cause, end_reason FROM exit_obligations"
            await trading.until(lambda: trading.query(cause) == [("stop_loss", "filled")])

    run_bounded(scene(), 180.0)
