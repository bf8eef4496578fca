"""Rate limit bans: until when no process on the file sends a request to an exchange."""

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


def rate_limit_ban_end_ms(store: Store, exchange: str) -> int | None:
    """Return when the latest ban of an exchange ends or ended, or None where there was none.

    Compare it with the computer's time: epoch milliseconds, and it may be past.
    """
    with store.read() as connection:
        return connection.execute(
            "SELECT until_ms FROM rate_limit_bans WHERE exchange = ?", (exchange,)
        ).get
