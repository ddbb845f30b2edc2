"""Addresses of sources: what is a URL, and how it is shown without its secrets."""

from __future__ import annotations

import re

SECRET = re.compile(
    r"(?i)\b(token|access_token|auth|key|apikey|api_key|password|passwd|pwd|pass|secret|sig"
    r"|signature|passphrase|streamid)=[^&#\s]*"
)
"""Parts of a query that let somebody in."""


def is_url(spec: str) -> bool:
    """Whether a source is a URL (`SCHEME://...`) and not a path."""
    return "://" in spec


def masked(spec: str) -> str:
    """A source as it may be shown: `rtsp://***@camera/1`, secrets of the query as `***`."""
    if not is_url(spec):
        return spec
    scheme, _, rest = spec.partition("://")
    authority, _, query = rest.partition("?")
    host = authority.partition("/")[0]
    # Somebody may have left a slash of a password unescaped: then what is before it is no port.
    whole = "@" not in host and "@" in authority and not re.fullmatch(r"[^:]*(:\d*)?", host)
    at = authority.rfind("@") if whole else host.rfind("@")
    shown = f"{scheme}://{'***@' if at >= 0 else ''}{authority[at + 1 :]}"
    if query:
        shown += "?" + SECRET.sub(lambda match: f"{match[1]}=***", query)
    return shown
