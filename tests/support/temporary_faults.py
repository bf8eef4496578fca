"""Temporary faults of REST, by their row of docs/failure-modes.md."""

from typing import Any

#: Name and settings; each test chooses when to continue.
PASSING: list[tuple[str, dict[str, Any]]] = [
    ("row 2 no response", {"kind": "timeout"}),
    ("row 2 a body that drips", {"kind": "drip", "seconds": 0.05}),
    ("row 8 500", {"kind": "status", "status": 500}),
    ("row 8 502", {"kind": "status", "status": 502}),
    ("row 8 503", {"kind": "status", "status": 503}),
    ("row 8 504", {"kind": "status", "status": 504}),
    ("row 8 overload", {"kind": "status", "status": 503, "code": -1008}),
    ("row 11 HTML", {"kind": "wrong_body", "shape": "html"}),
    ("row 11 cut JSON", {"kind": "wrong_body", "shape": "truncated"}),
    ("row 11 null", {"kind": "wrong_body", "shape": "null"}),
    ("row 11 {}", {"kind": "wrong_body", "shape": "empty_object"}),
]
