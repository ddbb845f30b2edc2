"""A real Pulsar as operators run it: TLS, tokens, client certificates, authorization."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.operators.papers import Authority, jwt, secret_file
from tests.pulsar import RealPulsar, SharedPulsar
from wtp.config.schema import BrokerSettings

NAME = "secured"
ROLES = ("admin", "router", "reader", "nobody")
"""Who has a token: a super-user, who may write and read, who may read, who may nothing."""

AUTHENTICATION = "org.apache.pulsar.broker.authentication.AuthenticationProvider"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a test needs to know of it; the files are made by whoever asks first.

    Attributes:
        pulsar: The JVM.
        folder: Certificates and tokens.
    """

    pulsar: RealPulsar
    folder: Path

    @property
    def ca(self) -> str:
        """Who signed the broker's certificate."""
        return str(self.folder / "authority.pem")

    @property
    def other_ca(self) -> str:
        """Who signed nothing."""
        return str(self.folder / "other.pem")

    @property
    def port(self) -> int:
        """Of the binary protocol over TLS."""
        return int(self.pulsar.url_tls.rpartition(":")[2])

    @property
    def https_port(self) -> int:
        """Of the admin API over TLS."""
        return int(self.pulsar.admin_tls.rpartition(":")[2])

    def token_file(self, role: str) -> str:
        """File of a role's token; `expired` and `forged` are those of a super-user."""
        return str(self.folder / f"{role}.token")

    def tokens(self) -> list[str]:
        """Every token, none of which may be shown anywhere."""
        return [path.read_text().strip() for path in self.folder.glob("*.token")]

    def token(self, **claims: Any) -> str:
        """A token that the broker accepts."""
        return jwt((self.folder / "secret").read_bytes(), **claims)

    def pair(self, name: str) -> dict[str, str]:
        """Settings with a client certificate."""
        return {
            "cert": str(self.folder / f"{name}.pem"), "key": str(self.folder / f"{name}.key")
        }  # fmt: skip

    def settings(self, role: str = "admin", **more: Any) -> BrokerSettings:
        """Settings that lead in."""
        values = {
            "url": self.pulsar.url_tls,
            "admin": self.pulsar.admin_tls,
            "ca": self.ca,
            "token_file": self.token_file(role) if role else "",
        }
        return BrokerSettings.model_validate({**values, **more})

    def env(self, role: str = "admin", **more: str) -> Mapping[str, str]:
        """The same as environment of a process."""
        return {
            "WTP_BROKER": self.pulsar.url_tls,
            "WTP_ADMIN": self.pulsar.admin_tls,
            "WTP_BROKER_CA": self.ca,
            "WTP_BROKER_TOKEN_FILE": self.token_file(role) if role else "",
            **more,
        }


def cluster_of(shared: SharedPulsar) -> Cluster:
    """The one of a test run, started by the first of its processes that asks; it ends with them.

    While developing, WTP_TEST_PULSAR_SECURED names a folder in which one was started before.
    """
    home = Path(os.environ.get("WTP_TEST_PULSAR_SECURED") or shared.folder)
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{NAME}-papers"
    with (home / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _make_papers(folder)
        extra = json.loads((folder / "extra.json").read_text())
        admin = (folder / "admin.token").read_text().strip()
        pulsar = RealPulsar(home / NAME, extra=extra, tls=True, token=admin, owner=shared.owner)
        if not pulsar.running():
            pulsar.kill()
            pulsar.launch()
        pulsar.wait_healthy()
    return Cluster(pulsar, folder)


def _make_papers(folder: Path) -> None:
    folder.mkdir()
    ca, other = Authority(folder, "authority"), Authority(folder, "other")
    server = ca.sign("server", "localhost", "127.0.0.1")
    ca.sign("camera")
    other.sign("stranger")
    secret = b"thirty-two bytes at the very least"
    (folder / "secret").write_bytes(secret)
    tokens = {role: jwt(secret, sub=role) for role in ROLES}
    tokens["expired"] = jwt(secret, sub="admin", exp=1_700_000_000)
    tokens["forged"] = jwt(b"another key that nobody has given", sub="admin")
    for role, token in tokens.items():
        secret_file(folder / f"{role}.token", token)
    extra = {
        "tlsCertificateFilePath": server.cert,
        "tlsKeyFilePath": server.key,
        "tlsTrustCertsFilePath": ca.file,
        "authenticationEnabled": "true",
        "authenticationProviders": f"{AUTHENTICATION}Token,{AUTHENTICATION}Tls",
        # A token that runs out is asked for anew within this time, 60 s by default.
        "authenticationRefreshCheckSeconds": "1",
        "authorizationEnabled": "true",
        "superUserRoles": "admin",
        "tokenSecretKey": f"data:;base64,{base64.b64encode(secret).decode()}",
        "brokerClientAuthenticationPlugin": (
            "org.apache.pulsar.client.impl.auth.AuthenticationToken"
        ),
        "brokerClientAuthenticationParameters": f"token:{tokens['admin']}",
        "brokerClientTrustCertsFilePath": ca.file,
    }
    (folder / "extra.json").write_text(json.dumps(extra))
