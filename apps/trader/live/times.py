"""Time limits of live orders."""

from msgspec import Struct


class LiveTimes(Struct, frozen=True):
    """How long things may take, wall seconds."""

    first_look: float = 0.5
    """Between the first two look-ups of an order; doubles to `longest_look`."""
    longest_look: float = 10.0
    absent: float = 60.0
    """After an order's deadline, before the exchange is believed that there is none."""
    balance_doubt: float = 600.0
    """After an order's deadline, as long as balances have moved as if it had been executed."""
    absent_spacing: float = 5.0
    """Between the two answers that prove it."""
    nowhere: float = 2.0
    """Between two answers that show nothing of a stop without an answer, before another one is
    placed or the coins are sold; the order itself stays unknown until it is proven absent."""
    stop_fires: float = 5.0
    """A resting stop whose level was passed has so long to fire before the position is sold."""
    acknowledge: float = 5.0
    """A sell that is not acknowledged after this is replaced by the stop, as far as coins are
    there."""
    entry_waits: float = 10.0
    """An entry whose turn it is waits so long for the account to be read."""
    poll: float = 10.0
    """Between two readings of the account, without its stream of events."""
    poll_with_stream: float = 20.0
    """Between two readings of the account while its events arrive."""
    poll_per_symbol: float = 2.0
    """Two readings are so long apart for each symbol of the account at least: a reading of Binance
    weighs 47 of the 6,000 that it allows in a minute."""
    read_again: float = 1.0
    """Before the account is read again after a reading that failed; doubles with each one, up to
    the pause between two readings."""
    after_event: float = 1.0
    """Between two readings that events of the account call for, for each symbol of the account."""
    history: float = 5.0
    """An exit waits so long after the start for executions from before it: an account with coins of
    its own may have had the position's sold by others."""
    history_unread: float = 30.0
    """Executions from before the start that are not read after this are a problem."""
    key_rights: float = 3_600.0
    """Between two readings of what the API key may do."""
    key_rights_again: float = 60.0
    """The same while it may do something that it should not, or may not trade."""
    event_late: float = 5.0
    """An execution that no event has brought after this shows that the stream loses events."""
    missing: float = 5.0
    """Coins are missing once readings so far apart lack them: a balance may be shown late."""
    cancel_again: float = 2.0
    """Before a cancellation without an effect is repeated."""
    exit_again: float = 10.0
    """Before an exit that was refused is sent again; doubles with each refusal, to 5 minutes."""
    stop_moves: float = 10.0
    """Between two changes of a stop because its level has risen."""
    naked: float = 5.0
    """A position without a stop at the exchange for so long is a problem that is reported."""
    price_poll: float = 5.0
    """Between two questions for the price while a position is open and the stream sends none."""
    price_is_old: float = 30.0
    """A level that is watched here, with a price older than this, is watched by nothing."""
    stop_grows: float = 1.0
    """Between two changes of a stop because more was filled."""
    stop_again: float = 30.0
    """Before a stop that was refused is placed again; doubles with each refusal, to an hour."""
