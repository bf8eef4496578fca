"""The frame of every page: head, a policy that forbids all loading, data and inline scripts.

The policy is a Content-Security-Policy: the page loads nothing, and only its own scripts run.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

#: Start of the policy of a page; the digests of its scripts follow.
POLICY_BEGINNING: Final = "default-src 'none'; script-src "
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")


def render_page(
    body: str,
    *,
    title: str,
    style: str,
    data: str,
    scripts: Sequence[str],
    libraries: Sequence[str] = (),
) -> str:
    """Return a whole page as HTML.

    Args:
        body: HTML between `<body>` and the scripts.
        title: Title of the page, plain text.
        style: CSS.
        data: JSON of `encode_script_json`, which the scripts find by the id `data`.
        scripts: Scripts of the page, which are joined and run in one scope.
        libraries: Scripts of libraries, which run before.
    """
    joined = "\n".join(["(() => {", '"use strict";', *scripts, "})();"])
    run = (*libraries, joined)
    return fill_template(
        read_asset("frame.html"),
        {
            "policy": _format_security_policy(run, style),
            "title": escape(title),
            "style": style,
            "body": body,
            "data": data,
            "scripts": "\n".join(f"<script>{script}</script>" for script in run),
        },
    )


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Return the template with every placeholder replaced, except those in inserted text.

    Args:
        template: HTML with placeholders such as `{{name}}`.
        values: HTML of each placeholder, by name.
    """
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def read_asset(name: str, folder: Path | None = None) -> str:
    """Return the text of a file of the pages.

    Args:
        name: Name of the file.
        folder: Folder of the file; None: that of the report page.
    """
    # Not by `importlib.resources`, whose import takes longer than the page.
    source = folder or Path(__file__).with_name("page")
    return (source / name).read_text(encoding="utf-8").strip()


def encode_script_json(document: Any) -> str:
    """Return a document as JSON that may stand inside a `script` element.

    `<`, `>` and `&` are written as escapes, so no text can end the element or open a comment.
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def render_definitions(values: Mapping[str, str]) -> str:
    """Return the rows of a `dl`: names and their texts."""
    return "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>"
        for name, text in values.items()
    )


def render_warning_bar(fault: str, more: str) -> str:
    """Return a red bar with the reason why a page is not reliable; empty without a fault.

    Args:
        fault: Short reason, plain text.
        more: Finding, and the command that shows more.
    """
    if not fault:
        return ""
    return (
        f'<p class="warning" role="alert"><strong>{escape(fault[0].upper() + fault[1:])}.</strong> '
        f"{escape(more)}</p>"
    )


def compute_policy_digest(text: str) -> str:
    """Return the source of a script or style for a Content-Security-Policy: its SHA-256."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _format_security_policy(scripts: Sequence[str], style: str) -> str:
    allowed = " ".join(compute_policy_digest(script) for script in scripts)
    return (
        f"{POLICY_BEGINNING}{allowed}; style-src {compute_policy_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
