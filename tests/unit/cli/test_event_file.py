"""Events are in their file as soon as they have happened, or it is said that they are not."""

from __future__ import annotations

import json
import os

import pytest

from echosvc.cli.event_file import EventFile


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line]


def test_each_event_is_a_line_and_there_at_once(tmp_path):
    path = tmp_path / "events"
    path.write_text('{"of": "an earlier run"}\n')
    events = EventFile(str(path), "--jsonl")
    events.write({"event": "gap", "server": "ä\n"})
    assert lines(path.read_text())[1:] == [{"event": "gap", "server": "ä\n"}]
    events.write({"event": "end"})
    assert len(path.read_text().splitlines()) == 3
    assert events.close() == 0


def test_a_full_disk_is_said_in_one_line_and_counted(capfd):
    events = EventFile("/dev/full", "--jsonl")
    for number in range(5):
        events.write({"number": number})
    assert events.close() == 5
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("echosvc: --jsonl: /dev/full: ENOSPC")


def test_a_line_that_was_torn_does_not_spoil_the_next_one(capfd):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    events = EventFile("a pipe", "--jsonl", descriptor=writer)
    count = 0
    while not (missing := events._missing):
        events.write({"number": count, "long": "x" * 9000})
        count += 1
    taken = os.read(reader, 1 << 20)
    events.write({"number": -1})
    taken += os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)
    *whole, last = taken.decode().splitlines()
    assert json.loads(last) == {"number": -1}
    assert len([line for line in whole if line.endswith("}")]) == count - missing
    assert events.close() == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_reader_that_has_gone_is_an_error_of_the_file_alone(capfd):
    reader, writer = os.pipe()
    os.close(reader)
    events = EventFile("a pipe", "--jsonl", descriptor=writer)
    events.write({})
    os.close(writer)
    assert events.close() == 1
    assert "EPIPE" in capfd.readouterr().err


def test_a_file_that_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        EventFile(str(tmp_path / "none" / "events"), "--jsonl")
