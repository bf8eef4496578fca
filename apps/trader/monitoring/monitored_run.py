"""Runs a trader with the JSON log, the alerts and the heartbeat that its settings name."""

import contextlib
from collections.abc import Generator

from trader.monitoring.alerts import check_alerts, sending_alerts
from trader.monitoring.heartbeat import check_heartbeat, sending_heartbeats
from trader.monitoring.json_log import writing_json_log
from trader.monitoring.settings import MonitoringSettings


@contextlib.contextmanager
def start_monitoring(settings: MonitoringSettings) -> Generator[None]:
    """Write the JSON log, run alert commands and send heartbeats while the block runs.

    Args:
        settings: Settings of the three; what they do not name is off.

    Raises:
        UsageError: the address of the heartbeat is invalid.
        ConfigurationError: a file or the alert command cannot be used.
    """
    check_alerts(settings)
    check_heartbeat(settings)
    with writing_json_log(settings), sending_alerts(settings), sending_heartbeats(settings):
        yield
