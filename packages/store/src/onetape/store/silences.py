"""Silences: while an exchange bans this computer, no process on the file asks it for anything."""

from onetape.store.database import Store


def silence(store: Store, exchange: str, *, until_ms: int, reason: str) -> None:
    """Keep every process on this file from asking an exchange; a longer silence stays.

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
            "INSERT INTO silences (exchange, until_ms, reason) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms, reason = excluded.reason "
            "WHERE excluded.until_ms > until_ms",
            (exchange, until_ms, reason),
        )


def silent_until_ms(store: Store, exchange: str) -> int | None:
    """Return when the latest silence of an exchange ends or ended, or None where there was none.

    Compare it with the computer's time: epoch milliseconds, and it may be past.
    """
    with store.read() as connection:
        return connection.execute(
            "SELECT until_ms FROM silences WHERE exchange = ?", (exchange,)
        ).get
