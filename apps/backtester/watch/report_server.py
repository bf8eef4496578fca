"""A server on 127.0.0.1 that shows the newest report of `--watch` and reloads it in the browser.

A page opened from a file could not poll for a newer report: browsers let no file read another file,
and the report's policy forbids all loading. The report file stays as it is, and can be sent to
other people; the served page has an additional script that may send requests to this server only.
"""

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

from onetape.core.loopback import is_own_host, is_own_origin
from onetape.report.frame import POLICY_BEGINNING, compute_policy_digest

_WAITING: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY_BEGINNING}'none'; img-src data:">
<meta name="color-scheme" content="light dark"><title>backtester --watch</title>
<link rel="icon" href="data:,"></head>
<body><h1>No report yet</h1><p>It appears here when the first backtest has ended.</p></body></html>
"""


class NewestReport:
    """The newest report and the present error; shared by the page and the watcher."""

    def __init__(self) -> None:
        """Begin without a report."""
        self._lock = threading.Lock()
        self._page = _WAITING
        self._version = 0
        self._error = ""

    def show(self, page: str, warning: str = "") -> None:
        """Replace the report; the warning of its bias check, if any, is shown above it."""
        with self._lock:
            self._page, self._error = page, warning
            self._version += 1

    def show_error(self, text: str) -> None:
        """Show an error message above the last report."""
        with self._lock:
            self._error = text

    def encode_state(self) -> bytes:
        """Return the state that the page polls for, as JSON: version and error."""
        with self._lock:
            return json.dumps({"version": self._version, "error": self._error}).encode()

    def render_page(self) -> bytes:
        """Return the report with the script that reloads it."""
        with self._lock:
            page, version = self._page, self._version
        script = (files("backtester.watch") / "reload.js").read_text(encoding="utf-8")
        script = script.replace("VERSION", str(version))
        # The served page may also send requests to this server.
        allowed = (
            f"default-src 'none'; connect-src 'self'; script-src {compute_policy_digest(script)} "
        )
        page = page.replace(POLICY_BEGINNING, allowed, 1).replace(f"{allowed}'none'", allowed, 1)
        head, _, tail = page.rpartition("</body>")
        return f"{head}<script>{script}</script></body>{tail}".encode()


class ReportServer:
    """HTTP server of the newest report on 127.0.0.1 and a free port; a context manager."""

    def __init__(self, newest: NewestReport) -> None:
        """Bind the socket; requests are handled inside `with`."""
        self._server = _Server(("127.0.0.1", 0), _make_handler_class(newest))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        """URL of the report, such as `http://127.0.0.1:40123/`."""

    def __enter__(self) -> Self:
        """Start to serve the report."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop responding."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Logs no error if a page is closed in the middle of a response."""

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any
    ) -> None:
        """Log the error, unless the page was closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _make_handler_class(newest: NewestReport) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Handles GET of `/` and `/state`."""

        def do_GET(self) -> None:
            """Respond, unless the request comes from a foreign page (`core.loopback`)."""
            port = self.connection.getsockname()[1]
            host, origin = self.headers.get("Host"), self.headers.get("Origin")
            if not (is_own_host(host, port) and is_own_origin(origin, host)):
                self.send_error(403)
            elif self.path == "/state":
                self._respond("application/json", newest.encode_state())
            elif self.path == "/":
                self._respond("text/html; charset=utf-8", newest.render_page())
            else:
                self.send_error(404)

        def _respond(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Log nothing: the page sends two requests a second."""
            del format, args

    return Handler
