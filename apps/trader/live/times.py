"""Time limits and pauses of live orders, stops and readings of the account.

They are constants of the program, no settings; tests shorten some of them.
"""

from msgspec import Struct


class LiveTimes(Struct, frozen=True):
    """Durations and limits of the live trader, wall seconds."""

    first_look_up: float = 0.5
    """Time between the first two look-ups of an order; doubles to `longest_look_up`."""
    longest_look_up: float = 10.0
    """Longest time between two look-ups of an order."""
    absent: float = 60.0
    """Time after an order's deadline before responses prove that the order does not exist."""
    balance_doubt: float = 600.0
    """Time after an order's deadline in which a balance that has changed as if the order had been
    executed forbids the conclusion that the order does not exist."""
    absent_spacing: float = 5.0
    """Minimum time between the two responses that prove that an order does not exist."""
    nowhere: float = 2.0
    """Minimum time between two look-ups that both show no trace of a stop whose send had no
    response, before another stop is placed or the coins are sold. The order stays unknown until it
    is proven absent."""
    stop_fires: float = 5.0
    """Time that a resting stop whose level was passed has to fire before the position is sold."""
    stop_taken: float = 2.0
    """Time that an exit whose stop others have cancelled waits before the account is read again and
    the position sold: another copy of the database may be selling it."""
    acknowledge: float = 5.0
    """Time after which a sell that is not acknowledged no longer keeps a stop from being placed, if
    the coins are still there."""
    entry_waits: float = 10.0
    """Maximum time that a due entry waits for a reading of the account."""
    poll: float = 10.0
    """Time between two readings of the account, without its stream of events."""
    poll_with_stream: float = 20.0
    """Time between two readings of the account while its events arrive."""
    poll_per_symbol: float = 2.0
    """Minimum time between two readings for each symbol of the account: a reading of Binance weighs
    47 of the 6,000 that it allows in a minute."""
    read_again: float = 1.0
    """Pause before the account is read again after a failed reading; doubles with each failure, up
    to the time between two readings."""
    after_event: float = 1.0
    """Minimum time between two readings after events of the account, for each of its symbols."""
    history_unread: float = 30.0
    """Time after which unread executions from before the start are reported as a problem."""
    key_rights: float = 3_600.0
    """Time between two readings of the API key's permissions."""
    key_rights_again: float = 60.0
    """Time between two readings of the permissions while they are too wide, or lack trading."""
    event_late: float = 5.0
    """Time after which an execution without an event shows that the stream loses events."""
    compare_again: float = 10.0
    """Pause before the account is compared again after an error of a comparison; doubles with each
    error, to 5 minutes."""
    missing: float = 5.0
    """Time between two readings that must both lack coins: a balance may be shown late."""
    cancel_again: float = 2.0
    """Pause before a cancellation without an effect is repeated."""
    exit_again: float = 10.0
    """Pause before a refused exit is sent again; doubles with each refusal, to 5 minutes."""
    stop_moves: float = 10.0
    """Minimum time between two changes of a stop because its level has risen."""
    unprotected: float = 5.0
    """Time without a stop at the exchange after which a position is reported as a problem."""
    price_poll: float = 5.0
    """Time between two price requests while a position is open and the stream sends no price."""
    price_is_old: float = 30.0
    """Age of a price from which a level that the trader watches counts as unwatched."""
    sale_doubt: float = 5.0
    """Time that a resting stop keeps its amount although others may have sold coins."""
    executions_unread: float = 2.0
    """Time after the fill of an entry until it gets a stop although executions are unknown."""
    executions_lost: float = 60.0
    """Time for which the executions of a filled entry are unknown before a person may answer."""
    answer_read: float = 1.0
    """Time between two readings of a person's answer from the database."""
    stop_grows: float = 1.0
    """Minimum time between two changes of a stop because more was filled."""
    stop_again: float = 30.0
    """Pause before a refused stop is placed again; doubles with each refusal, to an hour."""
