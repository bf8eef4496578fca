"""Recorded replies and messages of an exchange, read from JSON files.

A file is `{"items": [...]}` (or the list alone). A reply has `path` and `body`, and may have
`method` (GET), `query` (`a=1&b=2` or a mapping), `status` (200) and `headers`; a stream's message
has `message`. An item with only a `name` becomes a reply through a route: `http_ohlc` and
`GET /0/public/OHLC`. Other keys of an item are ignored.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from onetape.core.errors import ConfigurationError, UsageError

#: Parameters that differ from call to call and do not identify a request.
VOLATILE_PARAMETERS: Final = frozenset({"timestamp", "recvWindow", "signature", "nonce"})
#: Name and value of each parameter of a query.
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """One recorded reply of an exchange, and the request that it belongs to."""

    method: str
    """HTTP method of the request."""
    path: str
    """Path of the request, without the query."""
    query: Query
    """Parameters of the request, sorted, without those of `VOLATILE_PARAMETERS`."""
    status: int
    """HTTP status."""
    body: object
    """Body of the response: a document, or text that is sent unchanged."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """Return the request as `GET /path?query`."""
        return format_request(self.method, self.path, self.query)


@dataclass(frozen=True, slots=True)
class Recordings:
    """All recordings of one or more files."""

    replies: tuple[RecordedReply, ...]
    messages: tuple[object, ...]
    """WebSocket messages: documents, or texts that are sent unchanged."""


def format_request(method: str, path: str, query: Query) -> str:
    """Return a request as `GET /path?query`."""
    text = "&".join(f"{name}={value}" for name, value in query)
    return f"{method} {path}{'?' if text else ''}{text}"


def normalize_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Return the parameters of a query, sorted and without those that differ from call to call."""
    return tuple(sorted(pair for pair in pairs if pair[0] not in VOLATILE_PARAMETERS))


def parse_route(text: str) -> tuple[str, str]:
    """Return name and request of `http_ohlc=GET /0/public/OHLC`.

    Raises:
        UsageError: the text has another form.
    """
    name, separator, request = text.partition("=")
    method, space, path = request.strip().partition(" ")
    if not separator or not name or not space or not path.startswith("/"):
        raise UsageError(
            f"--route {text!r} was not understood; write 'http_ohlc=GET /0/public/OHLC'"
        )
    return name.strip(), f"{method.upper()} {path}"


def read_recordings(files: Iterable[Path], routes: Mapping[str, str] | None = None) -> Recordings:
    """Read files of recordings, in order.

    Args:
        files: JSON files.
        routes: Request `METHOD /path?query` by name, for items that have a name but no path.

    Raises:
        ConfigurationError: a file cannot be read, or holds no recording.
        UsageError: a route names an item that no file has.
    """
    named = dict(routes or {})
    replies: list[RecordedReply] = []
    messages: list[object] = []
    used: set[str] = set()
    for file in files:
        found = len(replies) + len(messages)
        for item in _read_items(file):
            name = str(item.get("name", ""))
            if name in named:
                used.add(name)
                method, _, path = named[name].partition(" ")
                item = {"method": method, "path": path, **item}
            if "path" in item and "body" in item:
                replies.append(_parse_recording(item))
            elif "message" in item:
                messages.append(item["message"])
        if found == len(replies) + len(messages):
            raise ConfigurationError(
                f"{file} holds no item with path and body, none with message, and none that a "
                "--route names; see simulator play --help"
            )
    if named.keys() - used:
        missing = sorted(named.keys() - used)[0]
        raise UsageError(f"--route: no item of the files has the name {missing!r}")
    return Recordings(tuple(replies), tuple(messages))


def _read_items(file: Path) -> list[dict[str, Any]]:
    try:
        document = cast("object", json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{file} is not valid JSON: {error}") from error
    items: object = document
    if isinstance(document, dict):
        items = cast("dict[str, object]", document).get("items")
    if not isinstance(items, list):
        raise ConfigurationError(f'{file} holds no list of items, as in {{"items": [...]}}')
    listed = cast("list[object]", items)
    return [cast("dict[str, Any]", item) for item in listed if isinstance(item, dict)]


def _parse_recording(item: Mapping[str, Any]) -> RecordedReply:
    path, _, in_path = str(item["path"]).partition("?")
    query: object = item.get("query") or ""
    if isinstance(query, Mapping):
        given = cast("Mapping[str, object]", query)
        pairs = [(name, str(value)) for name, value in given.items()]
    else:
        pairs = parse_qsl(str(query), keep_blank_values=True)
    headers = cast("Mapping[str, object]", item.get("headers") or {})
    pairs += parse_qsl(in_path, keep_blank_values=True)
    return RecordedReply(
        method=str(item.get("method", "GET")).upper(),
        path=path,
        query=normalize_query(pairs),
        status=int(item.get("status", 200)),
        body=item["body"],
        headers={name: str(value) for name, value in headers.items()},
    )
