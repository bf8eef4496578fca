"""Load the time zone that a setting names."""

from datetime import UTC, tzinfo

from onetape.core.errors import UsageError


def load_time_zone(name: str, setting: str) -> tzinfo:
    """Return the time zone of an IANA name.

    Args:
        name: Name of the time zone, such as UTC or Europe/Berlin.
        setting: Dotted key of the setting with the name, for the error.

    Raises:
        UsageError: this computer has no such time zone.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # The import takes time only if another time zone is set.

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise UsageError(
            f"{setting.rpartition('.')[2]} {name!r} is not known; "
            "write a name such as UTC or Europe/Berlin",
            setting=setting,
        ) from error
