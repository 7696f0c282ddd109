"""One buffer for reads and replies."""

from __future__ import annotations

import ctypes
import mmap

from hypothesis import given, settings
from hypothesis import strategies as some

from echosvc import EchoFactory
from echosvc.net.stream import CACHED_SIZES, RECV_SIZE, ReplyBuffer

SIZES = (
    some.integers(1, RECV_SIZE)
    | some.integers(CACHED_SIZES - 2, CACHED_SIZES + 2)
    | some.just(RECV_SIZE)
)


@settings(deadline=None)
@given(prefix=some.binary(max_size=99), reads=some.lists(SIZES, max_size=20))
def test_a_reply_is_the_prefix_and_what_was_read_last(prefix: bytes, reads: list[int]) -> None:
    replies = ReplyBuffer(prefix)
    assert len(replies.recv_view) == RECV_SIZE
    for number, size in enumerate(reads):
        data = bytes([number]) * size
        replies.recv_view[:size] = data
        assert bytes(replies.view(size)) == prefix + data
        cached_views = replies.cached_views[size] if size < CACHED_SIZES else None
        assert (cached_views is None) == (size >= CACHED_SIZES)
        assert cached_views is None or bytes(cached_views) == prefix + data


@settings(deadline=None)
@given(prefix=some.binary(max_size=5000))
def test_the_reply_to_a_read_that_fills_the_space_is_all_of_it(prefix: bytes) -> None:
    replies = ReplyBuffer(prefix)
    replies.recv_view[:] = b"1" * RECV_SIZE
    assert bytes(replies.long_reply) == bytes(replies.view(RECV_SIZE)) == prefix + b"1" * RECV_SIZE


@settings(deadline=None)
@given(prefix=some.binary(max_size=10_000))
def test_what_is_read_is_stored_far_from_the_start_of_a_page(prefix: bytes) -> None:
    """A copy from the start of a page to a few bytes behind it takes ten times as long."""
    replies = ReplyBuffer(prefix)
    address = ctypes.addressof(ctypes.c_char.from_buffer(replies.recv_view))
    assert address % mmap.PAGESIZE == mmap.PAGESIZE // 2


def test_not_more_is_kept_than_short_replies() -> None:
    """Whatever sizes peers choose, it does not grow."""
    replies = ReplyBuffer(b"> ")
    for size in range(RECV_SIZE + 1):
        replies.view(size)
    assert len(replies.cached_views) == CACHED_SIZES


def test_all_connections_of_a_factory_share_one() -> None:
    factory = EchoFactory(prefix="> ", log="quiet")
    assert factory.reply_buffer(b"> ") is factory.reply_buffer(b"> ")


def test_a_prefix_of_its_own_does_not_get_a_buffer_of_its_own() -> None:
    """A buffer for each connection would be 60 KiB for each."""
    factory = EchoFactory(prefix="{connection}", log="quiet")
    assert factory.reply_buffer(b"1") is None
