"""Why a broker does not let us in, as errors with a sentence and what to do."""

from __future__ import annotations

import ssl

from wtp.broker.access import Address, token_fault
from wtp.broker.embedded.answers import Error
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, Refused, WtpError

_EXPIRED, _WRONG_NAME = 10, (62, 64)
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, HOSTNAME_MISMATCH and IP_ADDRESS_MISMATCH."""

AUTHENTICATION_ERROR = 3
"""Pulsar's ServerError for who we are not."""


def untrusted(place: Address, error: ssl.SSLCertVerificationError) -> BrokerUnavailable:
    """Why a certificate is not believed: its name, its time or who signed it."""
    if error.verify_code in _WRONG_NAME:
        return BrokerUnavailable(
            f"The certificate of the broker at {place.url} does not bear the name {place.host!r}.",
            hint="Give the URL with a name that stands in the certificate, or set "
            "broker.verify_host: false.",
            code="tls-name",
        )
    if error.verify_code == _EXPIRED:
        return BrokerUnavailable(
            f"The certificate of the broker at {place.url} has expired.",
            hint="Whoever runs the broker has to renew it.",
            code="tls-expired",
        )
    return BrokerUnavailable(
        f"The certificate of the broker at {place.url} is signed by nobody who is trusted here "
        f"({error.verify_message}).",
        hint="Set broker.ca or WTP_BROKER_CA to the PEM file of those who signed it.",
        code="tls-trust",
    )


def tls_fault(place: Address, error: ssl.SSLError, broker: BrokerSettings) -> WtpError:
    """What an alert after the handshake means: the client's certificate is not accepted."""
    if broker.cert or "CERTIFICATE" in (error.reason or ""):
        what = "does not accept this client certificate" if broker.cert else "wants a certificate"
        return Refused(
            f"The broker at {place.url} {what}.",
            hint="Set WTP_BROKER_CERT and WTP_BROKER_KEY to a pair that it trusts.",
            code="cert-refused",
        )
    return BrokerUnavailable(
        f"The broker at {place.url} broke TLS off ({error.reason}).",
        hint="Look into the broker's log.",
        code="tls",
    )


def wants_tls(place: Address) -> BrokerUnavailable:
    """That a port is for TLS, and the URL was not."""
    return BrokerUnavailable(
        f"The broker at {place.url} wants TLS.",
        hint=f"Write pulsar+ssl://{place.host}:{place.port}, with broker.ca (WTP_BROKER_CA).",
        code="tls-wanted",
    )


def refusal(error: Error, place: Address, broker: BrokerSettings, secret: str) -> WtpError:
    """What an ERROR in answer to CONNECT means."""
    if error.error != AUTHENTICATION_ERROR:
        return BrokerUnavailable(
            f"The broker at {place.url} lets nobody in: {error.message[:300]}.",
            hint="Wait until it has started, or look into its log.",
            code="not-ready",
        )
    return not_authenticated(place.url, broker, secret)


def not_authenticated(url: str, broker: BrokerSettings, secret: str) -> Refused:
    """Why a broker does not believe who we are, as far as that can be seen from here.

    Args:
        url: Who refused.
        broker: How we came.
        secret: The token that was shown, "" for none.
    """
    source = "WTP_BROKER_TOKEN" if broker.token else broker.token_file
    if secret and (fault := token_fault(secret)):
        code = "token-expired" if "expired" in fault else "token-refused"
        return Refused(
            f"The broker at {url} does not accept the token of {source}: {fault}.",
            hint="Get a new one from whoever runs the broker.",
            code=code,
        )
    if secret:
        return Refused(
            f"The broker at {url} does not accept the token of {source}.",
            hint="It may be signed with another key or have been revoked; get a new one from "
            "whoever runs the broker.",
            code="token-refused",
        )
    if broker.cert:
        return Refused(
            f"The broker at {url} does not accept the client certificate {broker.cert}.",
            hint="It may want a token: set WTP_BROKER_TOKEN_FILE.",
            code="cert-refused",
        )
    return Refused(
        f"The broker at {url} wants to know who asks, and there is no token.",
        hint="Set broker.token_file or WTP_BROKER_TOKEN_FILE to the file of a token, or "
        "WTP_BROKER_CERT and WTP_BROKER_KEY.",
        code="token-missing",
    )


def silent(place: Address, seconds: float) -> BrokerUnavailable:
    """That a port accepts connections and nothing follows."""
    return BrokerUnavailable(
        f"What listens at {place.url} says nothing for {seconds:.0f} s: it hangs, or it is no "
        "Pulsar broker.",
        hint="Look after the broker, or give another one's URL with --broker.",
        code="silent",
    )


def no_pulsar(place: Address, what: str) -> BrokerUnavailable:
    """That something else listens; `what` says how that shows."""
    return BrokerUnavailable(
        f"What listens at {place.url} {what}: it is no Pulsar broker.",
        hint="Give the port of the binary protocol (6650, with TLS 6651): --broker "
        "pulsar://HOST:6650.",
        code="no-pulsar",
    )
