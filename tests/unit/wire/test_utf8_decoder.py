"""Bytes to text: as Node's decoder does it, wherever a stream is cut."""

from __future__ import annotations

from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.framing import Utf8Decoder, replace_invalid
from tests.support import node_decoder
from tests.support.byte_streams import reads, texts_of
from tests.support.examples import examples

THOROUGH = examples(300)


class Utf8Tests(SynchronousTestCase):
    def decoded(self, pieces: list[bytes]) -> list[str]:
        decoder = Utf8Decoder()
        texts = [decoder.decode(piece) for piece in pieces]
        return [each.decode("utf-8") for each in [*texts, decoder.end()]]

    def test_every_recorded_stream_decodes_as_by_node(self) -> None:
        table = node_decoder.recorded()
        self.assertGreater(len(table), 1500)
        wrong = [pieces for pieces, texts in table if self.decoded(pieces) != texts]
        self.assertEqual(wrong, [])

    def test_the_table_is_that_of_the_generator(self) -> None:
        """So that what the generator covers is what is tested."""
        recorded = [pieces for pieces, _ in node_decoder.recorded()]
        self.assertEqual(recorded, list(node_decoder.streams()))

    def test_the_oracle_of_these_tests_agrees_with_node(self) -> None:
        for pieces, texts in node_decoder.recorded():
            self.assertEqual(texts_of(pieces), [each.encode() for each in texts if each], pieces)

    def test_a_held_lead_is_one_replacement_character_for_each_invalid_part(self) -> None:
        for held, count in ((b"\xe2\x82", 1), (b"\xe0\x80", 2), (b"\xf0\x80\x80", 3)):
            self.assertEqual(self.decoded([b"a" + held]), ["a", "\ufffd" * count])

    def test_a_decoder_is_as_new_after_the_end(self) -> None:
        decoder = Utf8Decoder()
        decoder.decode(b"\xf0\x9f")
        decoder.end()
        self.assertEqual(decoder.decode(b"\x98\x80a"), "\ufffd\ufffda".encode())
        self.assertEqual(decoder.end(), b"")

    @THOROUGH
    @given(reads())
    def test_any_stream_cut_anywhere_decodes_by_the_rule(self, pieces: list[bytes]) -> None:
        self.assertEqual([each.encode() for each in self.decoded(pieces) if each], texts_of(pieces))

    @given(st.text())
    def test_valid_text_is_itself_wherever_it_is_cut(self, whole: str) -> None:
        pieces = [bytes((byte,)) for byte in whole.encode()]
        self.assertEqual("".join(self.decoded(pieces)), whole)

    @given(st.binary())
    def test_replace_invalid_is_idempotent_and_valid(self, data: bytes) -> None:
        once = replace_invalid(data)
        self.assertEqual(once.decode("utf-8").encode(), replace_invalid(once))


class LiveNodeTests(SynchronousTestCase):
    """The same, asked of the Node that is here."""

    def setUp(self) -> None:
        if node_decoder.NODE is None:
            raise SkipTest("no node on the path")
        self.node = node_decoder.NodeDecoder()
        self.addCleanup(self.node.close)

    @THOROUGH
    @given(reads())
    def test_any_stream_cut_anywhere_decodes_as_by_node(self, pieces: list[bytes]) -> None:
        decoder = Utf8Decoder()
        texts = [*map(decoder.decode, pieces), decoder.end()]
        self.assertEqual([each.decode("utf-8") for each in texts], self.node.decode(pieces))
