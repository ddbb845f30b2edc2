"""What the client library's results become, and which of them are for good."""

from __future__ import annotations

import pulsar
import pytest

from wtp.broker.messages import PERMANENT, Right, no_right, permanent, translate
from wtp.errors import BrokerUnavailable, NotFound, Refused, WtpError

URL = "pulsar://broker:6650"
RESULTS = sorted(set(pulsar.Result.__members__) - {"Ok"})

FOR_GOOD = {
    "MessageTooBig", "InvalidMessage", "IncompatibleSchema", "TopicTerminated",
    "OperationNotSupported", "UnsupportedVersionError", "InvalidTopicName",
    "AuthorizationError", "NotAllowedError",
}  # fmt: skip


@pytest.mark.parametrize("result", RESULTS)
def test_every_result_is_an_error_that_is_for_good_or_passes(result: str) -> None:
    error = translate(result, URL, "send")
    assert permanent(error) == (result in FOR_GOOD)
    assert error.message.startswith("send") or isinstance(error, BrokerUnavailable)


@pytest.mark.parametrize(
    ("result", "kind", "code", "exit_code"),
    [
        ("Timeout", BrokerUnavailable, "broker-unavailable", 3),
        ("ConnectError", BrokerUnavailable, "broker-unavailable", 3),
        ("TopicNotFound", NotFound, "not-found", 1),
        ("AuthorizationError", Refused, "not-allowed", 4),
        ("AuthenticationError", Refused, "token-refused", 4),
        ("MessageTooBig", WtpError, "too-large", 1),
        ("ProducerBusy", WtpError, "busy", 1),
        ("ProducerFenced", WtpError, "busy", 1),
        ("ProducerQueueIsFull", WtpError, "queue", 1),
        ("ProducerBlockedQuotaExceededException", WtpError, "quota", 1),
        ("UnknownError", WtpError, "broker", 1),
    ],
)
def test_kinds_and_codes(result: str, kind: type[WtpError], code: str, exit_code: int) -> None:
    error = translate(result, URL, "send")
    assert isinstance(error, kind)
    assert (error.code, error.exit_code) == (code, exit_code)


def test_a_new_token_may_help_so_its_lack_is_not_for_good() -> None:
    for code in ("token-missing", "token-expired", "token-refused", "cert-refused"):
        assert code not in PERMANENT
        assert not permanent(Refused("no", code=code))


@pytest.mark.parametrize(
    ("right", "verb", "action"),
    [("produce", "write to", "produce"), ("consume", "read", "consume"),
     ("look up", "look at", "consume")],
)  # fmt: skip
def test_a_missing_right_says_how_it_is_given(right: Right, verb: str, action: str) -> None:
    error = no_right(right, "persistent://studio/cam1/video", URL)
    assert f"to {verb} persistent://studio/cam1/video" in error.message
    assert "grant-permission studio/cam1 --role ROLE" in error.hint
    assert error.hint.endswith(f"--actions {action}.")
    assert (error.code, error.exit_code) == ("not-allowed", 4)
    assert permanent(error)
