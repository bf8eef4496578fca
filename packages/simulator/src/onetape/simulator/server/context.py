"""Objects that all sockets of a simulator share: its faults, request limits and trading rules."""

from dataclasses import dataclass

from onetape.simulator.faults.lasting_faults import LastingFaults
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.limits import Limits
from onetape.simulator.trading.rules import RuleBook


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Faults, request limits and trading rules, which all sockets of a simulator share."""

    faults: Faults
    """All faults of the simulator."""
    lasting_faults: LastingFaults
    """The present effect of faults that last, such as maintenance."""
    limits: Limits
    """Counts of requests and messages, and their limits."""
    has_socket_age_limit: bool
    """Whether a socket ends after 24 hours of market time, as Binance's do."""
    rules: RuleBook
    """Trading rules of each market: steps and smallest values."""
