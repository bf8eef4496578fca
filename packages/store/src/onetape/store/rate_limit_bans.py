"""Rate limit bans: until when no process on the file sends a request to an exchange."""

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store


def save_rate_limit_ban(store: Store, exchange: str, *, until_ms: int, reason: str) -> None:
    """Store that an exchange bans this computer; a ban that ends later stays.

    Args:
        store: The open database.
        exchange: CCXT exchange id.
        until_ms: The end, epoch milliseconds of the computer's time.
        reason: What the exchange answered, in a few words.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT INTO rate_limit_bans (exchange, until_ms, reason) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms, reason = excluded.reason "
            "WHERE excluded.until_ms > until_ms",
            (exchange, until_ms, reason),
        )


def latest_rate_limit_ban(store: Store, exchange: str) -> RateLimitBan | None:
    """Return the ban of an exchange that ends last, past or not, or None where there was none."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT until_ms, reason FROM rate_limit_bans WHERE exchange = ?", (exchange,)
        )
        return next((RateLimitBan(until_ms, reason) for until_ms, reason in rows), None)
