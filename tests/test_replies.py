"""One buffer for reads and replies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from echosvc import EchoFactory
from echosvc.net.stream import KEPT, READ, Replies

SIZES = some.integers(1, READ) | some.integers(KEPT - 2, KEPT + 2) | some.just(READ)


@settings(deadline=None)
@given(head=some.binary(max_size=99), reads=some.lists(SIZES, max_size=20))
def test_a_reply_is_the_prefix_and_what_was_read_last(head: bytes, reads: list[int]) -> None:
    replies = Replies(head)
    assert len(replies.room) == READ
    for number, size in enumerate(reads):
        data = bytes([number]) * size
        replies.room[:size] = data
        assert bytes(replies.to(size)) == head + data
        kept = replies.kept[size] if size < KEPT else None
        assert (kept is None) == (size >= KEPT)
        assert kept is None or bytes(kept) == head + data


def test_not_more_is_kept_than_short_replies() -> None:
    """Whatever sizes peers choose, it does not grow."""
    replies = Replies(b"> ")
    for size in range(READ + 1):
        replies.to(size)
    assert len(replies.kept) == KEPT


def test_all_connections_of_a_factory_share_one() -> None:
    factory = EchoFactory(prefix="> ", log="quiet")
    assert factory.replies_behind(b"> ") is factory.replies_behind(b"> ")


def test_a_prefix_of_its_own_does_not_get_a_buffer_of_its_own() -> None:
    """A buffer for each connection would be 60 KiB for each."""
    factory = EchoFactory(prefix="{connection}", log="quiet")
    assert factory.replies_behind(b"1") is None
