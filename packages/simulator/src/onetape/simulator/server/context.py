"""Context of a server's sockets in addition to the market: faults, states and limits."""

from dataclasses import dataclass

from onetape.simulator.faults.registry import Faults
from onetape.simulator.faults.states import States
from onetape.simulator.server.limits import Limits
from onetape.simulator.trading.rules import RuleBook


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Context that all sockets of a simulator share: faults, limits and rules."""

    faults: Faults
    states: States
    limits: Limits
    sockets_end: bool
    """Whether a socket ends after 24 hours of market time, as Binance's do."""
    rules: RuleBook
    """Trading rules of each market: steps and smallest values."""
