"""Where TLS records end, in a stream that is cut anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.tls.records import RecordTracker, single_record_size


def record(body: bytes) -> bytes:
    return b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body


class RecordsTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=600), max_size=8), st.lists(st.integers(0, 5000)))
    def test_it_is_aligned_exactly_where_a_record_ends(
        self, bodies: list[bytes], cuts: list[int]
    ) -> None:
        stream, ends = b"", {0}
        for body in bodies:
            stream += record(body)
            ends.add(len(stream))
        places = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
        records, start = RecordTracker(), 0
        for end in places:
            records.feed(stream[start:end])
            self.assertEqual(records.at_boundary, end in ends, (end, ends))
            start = end

    @given(st.binary(min_size=1, max_size=600), st.binary(max_size=3))
    def test_one_record_is_known_from_more_and_from_less(self, body: bytes, more: bytes) -> None:
        whole = record(body)
        self.assertEqual(single_record_size(whole), len(whole))
        self.assertEqual(single_record_size(whole[:-1]), 0)
        self.assertEqual(single_record_size(whole + b"x" + more), 0)

    def test_what_is_too_short_for_a_record_is_none(self) -> None:
        for size in range(6):
            self.assertEqual(single_record_size(b"\x17\x03\x03\0\0"[:size]), 0)
