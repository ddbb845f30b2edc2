"""How the router's certificate is judged when the command line does not say, and its URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wtp.config.address import is_loopback
from wtp.errors import UsageError
from wtp.transport.trust import Trust

CERTIFICATE = "wtp.crt"
"""File name of the router's certificate in the certificates folder."""


def trust_for(url: str, given: Trust, folder: Path) -> Callable[[], Trust]:
    """What to trust at each attempt to connect (DESIGN, section 4).

    Args:
        url: The router's.
        given: What the command line says; wins when it says anything.
        folder: The certificates folder. On loopback the certificate in it is the trust anchor;
            it is looked for at every attempt, since a restarted router may have made a new one.

    Returns:
        A function that gives the trust of now. Elsewhere than on loopback, and without a
        certificate, it is the system's authorities.
    """
    own = folder / CERTIFICATE
    local = is_loopback(urlsplit(url).hostname or "")
    decided = bool(given.cert_hash) or given.ca is not None or given.insecure

    def now() -> Trust:
        if decided or not local or not own.is_file():
            return given
        return Trust(ca=own)

    return now


def room_url(url: str, room: str) -> tuple[str, str]:
    """The URL with the room in its query, and one to show: without the query, which has tokens.

    Raises:
        UsageError: It is not a URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(
            f"The router's URL cannot be read: {error}.", hint="Example: https://127.0.0.1:4433/wt"
        ) from error
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "room"]
    path = parts.path if parts.path not in ("", "/") else "/wt"
    full = parts._replace(path=path, query=urlencode([*query, ("room", room)]), fragment="")
    return urlunsplit(full), urlunsplit(full._replace(query=""))
