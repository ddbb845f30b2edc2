from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wtp.router.service_circuit import LAST_PAUSE_S, Circuit, State, pause_s


def opened() -> Circuit:
    circuit = Circuit(failures=3, open_s=2.0)
    for _ in range(3):
        circuit.begin(0.0)
        circuit.fail(0.0)
    return circuit


def test_opens_after_failures_in_a_row() -> None:
    circuit = Circuit(failures=3, open_s=2.0)
    for _ in range(5):
        circuit.fail(0.0)
        circuit.fail(0.0)
        circuit.succeed()
    assert circuit.state(0.0) is State.CLOSED
    circuit = opened()
    assert circuit.state(0.0) is State.OPEN
    assert not circuit.allows(1.9)
    assert circuit.again_s(1.0) == 2.0
    assert circuit.opened == 1


def test_one_request_may_try_when_half_open() -> None:
    circuit = opened()
    assert circuit.allows(2.0)
    circuit.begin(2.0)
    assert not circuit.allows(2.0)
    circuit.fail(2.5)
    assert circuit.state(4.4) is State.OPEN
    assert circuit.allows(4.5)
    circuit.begin(4.5)
    circuit.succeed()
    assert circuit.state(4.5) is State.CLOSED
    assert circuit.opened == 1


def test_a_try_that_was_given_up_leaves_room_for_another() -> None:
    circuit = opened()
    circuit.begin(2.0)
    circuit.withdraw()
    assert circuit.allows(2.0)


def test_a_rest_is_kept() -> None:
    circuit = Circuit(failures=3, open_s=2.0)
    circuit.rest(5.0)
    assert not circuit.allows(4.0)
    assert circuit.again_s(4.0) == 5.0
    assert circuit.allows(5.0)


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_pauses_are_bounded_and_jittered(attempt: int, chance: float) -> None:
    assert 0 <= pause_s(attempt, chance) <= LAST_PAUSE_S
    assert pause_s(attempt, 1.0) <= 2 * pause_s(max(1, attempt - 1), 1.0)
