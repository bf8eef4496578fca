"""Settings of the JSON log, the alerts and the heartbeat: the section `monitoring`."""

from pathlib import Path
from typing import Annotated

from onetape.core.setting import DeclaredStruct, Setting


class MonitoringSettings(DeclaredStruct, frozen=True, kw_only=True):
    """Settings of log, alerts and heartbeat."""

    log_json: Annotated[
        Path | None,
        Setting(
            "Log file with a JSON document in each line; "
            "at 10 MB it becomes FILE.1, and five are kept.",
            flag="--log-json",
            metavar="FILE",
            empty="none",
        ),
    ] = None
    alert_command: Annotated[
        str | None,
        Setting(
            "Command that is run at each change of state, each fill, each pause, resume, exit, "
            "halt and flatten, and each end of a session, with the event as JSON on its stdin and "
            "as ONETAPE_* variables.",
            empty="none",
        ),
    ] = None
    alert_timeout_seconds: Annotated[
        float, Setting("An alert command that runs longer than this is killed.", ge=1)
    ] = 30.0
    heartbeat_file: Annotated[
        Path | None,
        Setting("File that is written at each heartbeat while the trader works.", empty="none"),
    ] = None
    heartbeat_url: Annotated[
        str | None,
        Setting(
            "Address that is requested (GET) at each heartbeat "
            "while the trader works and is not halted.",
            empty="none",
        ),
    ] = None
    heartbeat_seconds: Annotated[float, Setting("Interval between two heartbeats.", ge=1)] = 60.0
