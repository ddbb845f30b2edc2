"""The newest message of a topic, asked of a client that may be closed while it is asked."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pulsar

from wtp.clock import monotonic_us

OPERATION_TIMEOUT_S = 5
"""Longest wait of the client for one answer of the broker."""

ASK_S = 0.1
"""How often a waiting call looks whether the client was closed."""

ANSWER_S = 1.0
"""How long closing waits for what the broker was asked."""


class Newest:
    """Questions for the newest message; every method blocks and belongs into a thread.

    Args:
        raw: The client library's client.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._asking: set[threading.Thread] = set()
        self._gone = False

    def position(self, topic: str) -> str | None:
        """`ledger:entry` of a topic's newest message; None when it is empty.

        Raises:
            pulsar.PulsarException: The broker refuses or does not answer, or the client is closed.
        """
        reader = self._raw.create_reader(
            topic, pulsar.MessageId.latest, start_message_id_inclusive=True
        )
        try:
            if not self._has_message(reader):
                return None
            where = reader.read_next(timeout_millis=OPERATION_TIMEOUT_S * 1000).message_id()
            return f"{where.ledger_id()}:{where.entry_id()}"
        finally:
            reader.close()

    def _has_message(self, reader: Any) -> bool:
        """Whether a reader has something to read; blocks.

        The client's own call waits for ever when the client is closed meanwhile, and Python waits
        for a pool's threads at its end: so it gets a thread that nobody waits for.

        Raises:
            pulsar.PulsarException: The client was closed, or the broker does not answer in time.
        """
        answers: queue.SimpleQueue[bool | pulsar.PulsarException] = queue.SimpleQueue()

        def ask() -> None:
            self._asking.add(threading.current_thread())
            try:
                answers.put(bool(reader.has_message_available()))
            except pulsar.PulsarException as error:
                answers.put(error)
            finally:
                self._asking.discard(threading.current_thread())

        threading.Thread(target=ask, name="pulsar-ask", daemon=True).start()
        give_up_us = monotonic_us() + 2 * OPERATION_TIMEOUT_S * 1_000_000
        while True:
            try:
                answer = answers.get(timeout=ASK_S)
            except queue.Empty:
                if self._gone:
                    raise pulsar.AlreadyClosed("closed while asking") from None
                if monotonic_us() > give_up_us:
                    raise pulsar.Timeout("no answer") from None
                continue
            if isinstance(answer, pulsar.PulsarException):
                raise answer
            return answer

    def await_answers(self) -> None:
        """Let what was asked be answered: a client that is closed first forgets the question."""
        until_us = monotonic_us() + int(ANSWER_S * 1e6)
        for asking in list(self._asking):
            asking.join(max(0.0, (until_us - monotonic_us()) / 1e6))
        self._gone = True
