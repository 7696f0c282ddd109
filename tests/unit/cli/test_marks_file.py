"""Marks are read as they are appended, whatever happens to their file."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echosvc.cli.marks_file import MAX_NAME, MarksFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "marks"


def append(path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def test_only_what_is_appended_from_now_on_counts(path):
    append(path, "an old one\nunfinished")
    marks = MarksFile(str(path))
    assert marks.names() == []
    append(path, "\nthe upgrade begins\n  node 1  \n\n")
    assert marks.names() == ["the upgrade begins", "node 1"]
    assert marks.names() == []


def test_a_file_that_does_not_exist_yet_is_read_once_it_does(path):
    marks = MarksFile(str(path))
    assert marks.names() == []
    append(path, "first\n")
    assert marks.names() == ["first"]


def test_a_truncated_file_is_read_from_its_beginning(path):
    append(path, "old\nold\n")
    marks = MarksFile(str(path))
    path.write_text("new\n")
    assert marks.names() == ["new"]


def test_a_replaced_file_is_read_to_its_end_and_then_the_other_one(path, tmp_path):
    append(path, "")
    marks = MarksFile(str(path))
    append(path, "one\ntwo")
    other = tmp_path / "other"
    append(other, "three\n")
    os.replace(other, path)
    assert marks.names() == ["one", "two"]
    assert marks.names() == ["three"]


def test_a_file_that_is_removed_and_made_again_is_read(path):
    append(path, "")
    marks = MarksFile(str(path))
    append(path, "one\n")
    path.unlink()
    assert marks.names() == ["one"]
    assert marks.names() == []
    append(path, "two\n")
    assert marks.names() == ["two"]


def test_a_line_without_an_end_counts_once_it_stays_the_same(path):
    marks = MarksFile(str(path))
    append(path, "the upgr")
    assert marks.names() == []
    append(path, "ade")
    assert marks.names() == []
    assert marks.names() == ["the upgrade"]
    append(path, "\nnext\n")
    assert marks.names() == ["next"]


def test_a_line_without_an_end_counts_at_the_end(path):
    marks = MarksFile(str(path))
    append(path, "done\nlast")
    assert marks.finish() == ["done", "last"]


def test_a_name_is_short_and_what_is_no_text_is_escaped(path):
    marks = MarksFile(str(path))
    append(path, b"\xff\xfe\n" + b"x" * 10_000 + b"\n")
    assert marks.names() == ["\\xff\\xfe", "x" * MAX_NAME]


def test_a_fifo_is_read_though_nobody_writes(path):
    os.mkfifo(path)
    marks = MarksFile(str(path))
    assert marks.names() == []
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"by a pipe\n")
    assert marks.names() == ["by a pipe"]
    os.close(writer)
    assert marks.finish() == []


def test_a_directory_is_refused(path):
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        MarksFile(str(path))


@given(st.lists(st.sampled_from(["a", "b c", "\n", "", "ä"]), max_size=20), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_it_is_written_each_line_is_read_once(tmp_path, pieces, data):
    path = tmp_path / "pieces"
    path.write_text("")
    marks, found = MarksFile(str(path)), []
    for piece in pieces:
        append(path, piece)
        if data.draw(st.booleans()) and piece:
            found += marks.names()
    found += marks.finish()
    lines = [line.strip() for line in "".join(pieces).split("\n")]
    assert found == [line for line in lines if line]
