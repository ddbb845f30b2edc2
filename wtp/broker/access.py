"""How one gets into a broker: addresses, trust, certificates and tokens, out of the settings.

Nothing here connects. `wtp.broker.accessprobe` does, to say why a broker lets nobody in.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wtp.clock import wall_us
from wtp.config.address import is_loopback
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, ConfigError, UsageError

log = logging.getLogger("wtp.broker")

PORTS = {"pulsar": 6650, "pulsar+ssl": 6651, "http": 8080, "https": 8443, "ws": 8080, "wss": 8443}
"""Ports that Pulsar listens on by default, by the scheme of the URL."""

SECURE = ("pulsar+ssl", "https", "wss")
"""Schemes that go through TLS."""

MAX_TOKEN_BYTES = 4096
"""Longest token taken; a token file that is longer is another file."""

TRUST_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""Where Linux distributions and macOS keep the system's trusted certificates in one file."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a service URL.

    Attributes:
        scheme: As in `PORTS`.
        host: Name or address, an IPv6 address without brackets.
        port: TCP port.
        path: What follows, without the slash at its end.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        """The URL of this address alone."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def secure(self) -> bool:
        """Whether it goes through TLS."""
        return self.scheme in SECURE


def shown(url: str) -> str:
    """A URL as people may see it: without user, password, query and fragment.

    Whatever the text is, what could be a secret in it is left out.
    """
    scheme, colon, rest = url.partition("://")
    if not colon:
        scheme, rest = "", url
    return f"{scheme}{colon}{re.split('[?#]', rest.rpartition('@')[2], maxsplit=1)[0]}"


def addresses(url: str, *schemes: str) -> list[Address]:
    """Take a service URL with one or more hosts apart: `pulsar://a:6650,b:6650`.

    Each host may repeat the scheme (`http://a:8080,http://b:8080`); without a port it has the
    scheme's own.

    Args:
        url: The URL.
        schemes: Schemes that are allowed; default: those of the binary protocol.

    Raises:
        BrokerUnavailable: `code` is `bad-url`: it is none of these, or names a user or a token.
    """
    allowed = schemes or ("pulsar", "pulsar+ssl")
    scheme, _, rest = url.partition("://")
    if scheme not in allowed or not rest:
        raise _bad_url(url, allowed, f"it does not begin with {' or '.join(allowed)}")
    hosts, slash, tail = rest.replace(f"{scheme}://", "").partition("/")
    if "@" in hosts or re.search("[?#]", rest):
        raise _bad_url(url, allowed, "user, password, token or query do not belong into it")
    path = f"{slash}{tail}".rstrip("/")
    found = []
    for one in hosts.split(","):
        try:
            parts = urlsplit(f"//{one.strip()}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or port == 0:
            raise _bad_url(url, allowed, f"{one[:100]!r} is not HOST or HOST:PORT")
        found.append(Address(scheme, host, port or PORTS[scheme], path))
    return found


def _bad_url(url: str, allowed: tuple[str, ...], why: str) -> BrokerUnavailable:
    what = "a broker" if allowed[0].startswith("pulsar") else "such a"
    hint = f"Write {allowed[0]}://HOST:{PORTS[allowed[0]]}, several hosts with a comma between."
    if "do not belong" in why:
        hint += " A token comes from WTP_BROKER_TOKEN_FILE or WTP_BROKER_TOKEN."
    return BrokerUnavailable(
        f"{shown(url)[:200]!r} is not {what} URL: {why}.", hint=hint, code="bad-url"
    )


def token(broker: BrokerSettings) -> str:
    """The token for the broker, read anew with each call; "" for none.

    `broker.token` (WTP_BROKER_TOKEN) comes before `broker.token_file`. A file that others than its
    owner and group may read is taken, with one warning: secrets of Kubernetes look like that.

    Raises:
        ConfigError: The file cannot be read, or what it holds is no token.
    """
    if broker.token:
        return _clean(broker.token, "The broker's token in WTP_BROKER_TOKEN or the profile")
    if not broker.token_file:
        return ""
    path = Path(broker.token_file)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TOKEN_BYTES + 2)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(
            f"The broker's token file {path} cannot be read: {error.strerror}.",
            hint="Set broker.token_file or WTP_BROKER_TOKEN_FILE to a file with the token.",
            code="token-file",
        ) from error
    _check_mode(path, mode)
    return _clean(raw.decode("ascii", "replace"), f"The broker's token file {path}")


def _clean(text: str, source: str) -> str:
    """The token in a text, without the mark that Pulsar's own tools put before it."""
    found = text.strip().removeprefix("token:")
    if len(found) <= MAX_TOKEN_BYTES and _TOKEN.fullmatch(found):
        return found
    what = "is empty" if not found else "holds more than one token, or none"
    raise ConfigError(
        f"{source} {what}.",
        hint="It holds nothing but the token: one line of at most 4096 characters.",
        code="token-file",
    )


def _check_mode(path: Path, mode: int) -> None:
    """Warn once of a secret that everybody on this machine may read."""
    if mode & 0o004:
        tell_once(f"{path} may be read by everybody on this machine. Mend it: chmod 600 {path}")


def tell_once(sentence: str) -> None:
    """Warn, but say the same sentence only once in this process."""
    if sentence not in _told:
        _told.add(sentence)
        log.warning("%s", sentence)


def token_fault(text: str) -> str:
    """What can be seen to be wrong with a token without its key; "" when nothing can.

    A token is not checked here; that is the broker's business, which does not say why it refused.
    """
    parts = text.split(".")
    if len(parts) != 3:
        return "it is no JSON web token"
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        expires, begins = claims.get("exp"), claims.get("nbf")
    except (ValueError, binascii.Error, AttributeError):
        return "it is no JSON web token"
    now_s = wall_us() / 1e6
    if isinstance(expires, (int, float)) and expires <= now_s:
        return f"it expired {_ago(now_s - expires)} ago"
    if isinstance(begins, (int, float)) and begins > now_s:
        return f"it is not valid for another {_ago(begins - now_s)}"
    return ""


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} seconds"


def trust_file(broker: BrokerSettings) -> str | None:
    """PEM file of the certificates to trust: `broker.ca`, else the system's; None when unknown."""
    usual = [os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *TRUST_FILES]
    return broker.ca or next((path for path in usual if path and os.path.isfile(path)), None)


def ssl_context(broker: BrokerSettings) -> ssl.SSLContext:
    """TLS towards the broker, for every way in: trust, client certificate, check of the name.

    Raises:
        ConfigError: A file cannot be read or holds something else; the setting is named.
        UsageError: Of certificate and key only one is given.
    """
    try:
        context = ssl.create_default_context(cafile=trust_file(broker))
    except (OSError, ssl.SSLError) as error:
        raise _bad_file("broker.ca", trust_file(broker) or "", error) from error
    context.check_hostname = broker.verify_host
    if bool(broker.cert) != bool(broker.key):
        there, missing = ("cert", "key") if broker.cert else ("key", "cert")
        raise UsageError(
            f"broker.{there} is given without broker.{missing}.",
            hint=f"Set WTP_BROKER_{missing.upper()} as well, or neither.",
        )
    if broker.cert:
        _load_pair(context, broker)
    return context


def _load_pair(context: ssl.SSLContext, broker: BrokerSettings) -> None:
    for key, path in (("broker.cert", broker.cert), ("broker.key", broker.key)):
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise _bad_file(key, path, error) from error
        if key == "broker.key":
            _check_mode(Path(path), mode)
    try:
        context.load_cert_chain(broker.cert, broker.key, password="")  # asks nobody
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _bad_file("broker.cert or broker.key", broker.cert, error) from error


def _bad_file(key: str, path: str, error: Exception) -> ConfigError:
    why = getattr(error, "strerror", None) or "it is no PEM file for that"
    if isinstance(error, ssl.SSLError):
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "key and certificate do not belong together" if mismatch else "it is no PEM file"
    return ConfigError(
        f"{key}: {path} cannot be used: {why}.", hint=f"Set {key} to a PEM file.", code="tls-file"
    )


def warn_of_open_token(broker: BrokerSettings) -> None:
    """Say that a token would go over a network for everybody to read."""
    if not broker.token and not broker.token_file:
        return
    for url in (broker.url, broker.admin):
        scheme, _, rest = url.partition("://")
        hosts = re.split("[/?#]", rest, maxsplit=1)[0].split(",")
        names = [urlsplit(f"//{host}").hostname or "" for host in hosts if "[" not in host]
        if scheme not in SECURE and not all(map(is_loopback, names)):
            tell_once(
                f"The broker's token goes unencrypted to {shown(url)}. Use pulsar+ssl:// and "
                "https://."
            )
