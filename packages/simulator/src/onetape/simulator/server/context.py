"""What all sockets of a simulator share in addition to the market: faults, limits and rules."""

from dataclasses import dataclass

from onetape.simulator.faults.registry import Faults
from onetape.simulator.faults.states import States
from onetape.simulator.server.limits import Limits
from onetape.simulator.trading.rules import RuleBook


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Context that all sockets of a simulator share: faults, limits and rules."""

    faults: Faults
    """Faults that fire at a call."""
    states: States
    """Faults that last."""
    limits: Limits
    """Counts of requests and messages, and their limits."""
    sockets_end: bool
    """Whether a socket ends after 24 hours of market time, as Binance's do."""
    rules: RuleBook
    """Trading rules of each market: steps and smallest values."""
