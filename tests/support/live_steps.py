"""Live orders on a stepped clock: the market moves from first trade to first trade of hours."""

from decimal import Decimal

from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.market.symbols import SpotSymbol
from session_harness import HOUR, KEY, MARCH, SessionHarness, SteppedMarket

#: Start balances: other coins, and cash for ten orders, so that no refusal hides an error.
BALANCE = {"USDT": Decimal(100_000), "BTC": Decimal(20)}
#: Limits off: the loss of a random walk is not tested.
LIMITS = RiskLimits(max_daily_loss=1.0, max_drawdown=1.0, max_orders_per_minute=1_000)
#: An order on its way, or a pending exit.
MOVING = """
    SELECT 1 FROM orders WHERE status IN ('intent', 'sent', 'unknown')
    UNION ALL SELECT 1 FROM orders WHERE status = 'open' AND NOT is_protection
    UNION ALL SELECT 1 FROM exit_obligations WHERE ended_ms IS NULL
"""
LAST_SIDE = "SELECT side FROM trades ORDER BY rowid DESC LIMIT 1"
RESTING = "SELECT 1 FROM orders WHERE status = 'open' AND is_protection"


def find_first_trade_hours(opened: SteppedMarket, hour: int) -> float:
    """Return the time of the first trade of an hour, in hours after March 2024."""
    simulated = opened.simulator.market
    symbol: SpotSymbol = next(one for one in simulated.symbols if one.name == KEY.symbol)
    moment = int(simulated.get_trades(symbol, MARCH + hour * HOUR).time_ms[0])
    return (moment / 1_000 - MARCH) / HOUR


async def step_hours(
    opened: SteppedMarket, trading: SessionHarness, hours: range, *, has_own_stop: bool = False
) -> None:
    """Move the market from one first trade of an hour to the next, until nothing is due any more.

    So each order is filled at the open of a candle, unless it is a stop.

    Args:
        opened: The market.
        trading: The session.
        hours: Hours after the start of March 2024.
        has_own_stop: Whether the strategy gives each position a stop.
    """
    has_stop = has_own_stop or trading.context.rules.exits.first_stop is not None

    def is_at_rest() -> bool:
        held = trading.query(LAST_SIDE) == [("buy",)]
        return not trading.query(MOVING) and bool(trading.query(RESTING)) == (held and has_stop)

    for hour in hours:
        await opened.go_to(find_first_trade_hours(opened, hour))
        await trading.until_decided(hour - 1)
        await trading.until(lambda hour=hour: (trading.source(hour) or (1,))[0] == 0)
        await trading.until(is_at_rest)
