"""Read and write the table `rate_limit_bans`: until when no process sends requests to an exchange.

The column `reason` ends with the time at which the ban began: `HTTP 418; began 1709251200000`.
"""

import re
from typing import Final

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store

_REASON: Final = re.compile(r"(?s)(.*?)(?:; began (\d+))?")


def save_rate_limit_ban(store: Store, exchange: str, ban: RateLimitBan) -> None:
    """Store a rate limit ban, unless the stored ban of the exchange ends later.

    Args:
        store: The open database.
        exchange: CCXT exchange id.
        ban: The ban.

    Raises:
        StoreError: the file cannot be written.
    """
    began = "" if ban.began_ms is None else f"; began {ban.began_ms}"
    with store.write() as connection:
        if ban.replaces(_read_ban(connection, exchange)):
            connection.execute(
                "INSERT OR REPLACE INTO rate_limit_bans (exchange, until_ms, reason) "
                "VALUES (?, ?, ?)",
                (exchange, ban.until_ms, f"{ban.reason}{began}"),
            )


def read_latest_rate_limit_ban(store: Store, exchange: str) -> RateLimitBan | None:
    """Return the stored rate limit ban of an exchange, even if it is over; None: no ban yet."""
    with store.read() as connection:
        return _read_ban(connection, exchange)


def _read_ban(connection: DatabaseConnection, exchange: str) -> RateLimitBan | None:
    rows = connection.execute(
        "SELECT until_ms, reason FROM rate_limit_bans WHERE exchange = ?", (exchange,)
    )
    for until_ms, text in rows:
        found = _REASON.fullmatch(text)
        reason, began = found.groups() if found is not None else (text, None)
        return RateLimitBan(until_ms, reason, None if began is None else int(began))
    return None
