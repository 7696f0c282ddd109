"""Bytes of another connection are recognised, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.engine.findings import ANOTHER, EARLIER
from echosvc.probe.engine.payload import FixedPayload, Payload
from echosvc.probe.engine.sent_payloads import SentPayloads
from tests.support.examples import examples


def sent(*sizes: int, ended: bool = True) -> tuple[SentPayloads, list[Payload]]:
    """Payloads of these sizes that were sent on connections of their own."""
    payloads = [Payload(size, seed) for seed, size in enumerate(sizes, 1)]
    kept = SentPayloads()
    for payload in payloads:
        kept.add(payload).ended = ended
    return kept, payloads


@given(st.integers(0, 199_000), st.integers(24, 4000), st.integers(0, 2), st.binary(max_size=5))
@examples(40)
def test_any_part_of_an_earlier_payload_is_recognised(start, size, which, garbage):
    kept, payloads = sent(200_000, 200_000, 200_000)
    data = garbage + payloads[which].at(start, size)
    assert kept.owner_of(data) == EARLIER
    assert kept.owner_of(data, Payload(200_000, 99)) == EARLIER


@given(st.integers(0, 199_000), st.integers(0, 4000))
@examples(20)
def test_what_was_never_sent_has_no_owner(start, size):
    kept, _ = sent(200_000, 200_000)
    assert kept.owner_of(Payload(200_000, 77).at(start, size)) == ""


def test_the_own_bytes_prove_nothing():
    kept, (one, other) = sent(5000, 5000)
    assert kept.owner_of(one.at(100, 16), one) == ""
    assert kept.owner_of(other.at(100, 16), one) == EARLIER


def test_bytes_that_are_not_random_prove_nothing():
    kept, _ = sent(5000)
    table = FixedPayload(bytes(range(256)) * 4)
    kept.add(table).ended = True
    assert kept.owner_of(table.at(128, 16)) == ""


def test_a_connection_that_is_open_is_no_earlier_one():
    kept, (payload,) = sent(5000, ended=False)
    assert kept.owner_of(payload.at(100, 16)) == ANOTHER


def test_a_few_bytes_and_text_are_not_searched():
    kept, (payload,) = sent(5000)
    assert kept.owner_of(payload.at(100, 11)) == ""
    assert kept.owner_of(b"the server says") == ""


def test_payloads_are_not_kept_but_made_again():
    kept, _ = sent(*[64 * 1024 * 1024] * 20)
    assert kept.owner_of(Payload(64 * 1024 * 1024, 1).at(1000, 16)) == EARLIER
