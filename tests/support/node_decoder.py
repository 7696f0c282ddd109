"""What Node's ``string_decoder`` makes of bytes: the oracle for ``--encoding utf-8``.

``tests/support/data/string_decoder.json`` is a table recorded from Node, so that the tests need
no Node. Each row is ``["c3 28a9", ["", "\\ufffd(\\ufffd", ""]]``: the reads in hex, then the
text that each ``write()`` of them gives, and last what ``end()`` gives.

To record it again, with ``node`` on the path::

    python -m tests.support.node_decoder

:class:`NodeDecoder` asks a running Node instead.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

TABLE = Path(__file__).with_name("data") / "string_decoder.json"
NODE = shutil.which("node")

# One line of hex words in (the reads of one stream), one line of JSON out.
_PROGRAM = r"""
const { StringDecoder } = require('string_decoder');
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const decoder = new StringDecoder('utf8');
  const reads = line.split(' ').filter((word) => word);
  const texts = reads.map((word) => decoder.write(Buffer.from(word, 'hex')));
  process.stdout.write(JSON.stringify([...texts, decoder.end()]) + '\n');
});
"""

# Both ends of every range that UTF-8 treats differently.
_EDGES = bytes.fromhex(
    "00 0a 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 f7 f8 ff"
)
_SEQUENCES = [
    bytes.fromhex(text)
    for text in (
        "e080", "e080 80", "e09f bf", "e0a0 80", "eda0", "eda0 80", "ed9f bf", "edbf bf",
        "eda0bd edb880", "c0", "c080", "c1bf", "f5", "f580 8080", "f490", "f490 8080",
        "f48f bfbf", "f080 80", "f080 8080", "f08f bfbf", "f090 8080", "f09f 9880", "f09f 98",
        "f09f 98f0 9f98 80", "efbb bf", "efbb bf41", "41ef bbbf", "efbf bd", "e282 ac", "e282",
        "e2e2 82ac", "e282 41", "e282 c3a9", "c3c3 a9", "f0e2 82ac", "f09f e282 ac", "f880 8080 80",
        "fc80", "fe", "ff", "8080 8080 80", "41e2 8280 8080", "ffc3", "c3ff", "f7bf bfbf", "f7bf",
        "dfbf dfbf", "efbf bfef bfbe", "e29f e29f", "f0f0 f0f0",
    )
]  # fmt: skip
_FRAGMENTS = [
    *_SEQUENCES,
    *(bytes((byte,)) for byte in _EDGES),
    *(text.encode() for text in ("ok", "é", "€", "😀", "日本", "\ufeff")),
]


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """``data`` as reads, cut at each set of places."""
    places = range(1, len(data))
    for count in range(len(data)):
        for chosen in itertools.combinations(places, count):
            ends = [0, *chosen, len(data)]
            yield [data[start:end] for start, end in itertools.pairwise(ends)]


def hostile(source: random.Random) -> list[bytes]:
    """A long stream of valid, broken and invalid characters, cut anywhere."""
    data = b"".join(source.choices(_FRAGMENTS, k=source.randint(4, 24)))
    reads = []
    while data:
        size = source.randint(1, source.choice((1, 2, 5, 40)))
        reads.append(data[:size])
        data = data[size:]
    return reads


def streams() -> Iterator[list[bytes]]:
    """Everything that the table covers."""
    for first in _EDGES:
        yield from cuts(bytes((first,)))
        for second in _EDGES:
            yield from cuts(bytes((first, second)))
    for data in _SEQUENCES:
        if len(data) <= 5:
            yield from cuts(data)
        else:
            yield [data]
            yield [bytes((byte,)) for byte in data]
    source = random.Random(8107)
    for _ in range(250):
        yield hostile(source)


class NodeDecoder:
    """A Node that decodes one stream after the other."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(
            [NODE or "node", "-e", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def decode(self, reads: list[bytes]) -> list[str]:
        """What each read gives, and last what the end gives."""
        print(" ".join(read.hex() for read in reads), file=self._node.stdin, flush=True)
        return json.loads(self._node.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._node.stdin.close()
        self._node.wait(10)
        self._node.stdout.close()


def recorded() -> list[tuple[list[bytes], list[str]]]:
    """The table."""
    rows = json.loads(TABLE.read_text("utf-8"))
    return [([bytes.fromhex(word) for word in reads.split()], texts) for reads, texts in rows]


def record() -> None:
    """Write the table anew."""
    node = NodeDecoder()
    rows = []
    for reads in streams():
        row = [" ".join(read.hex() for read in reads), node.decode(reads)]
        rows.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    node.close()
    TABLE.write_text("[\n" + ",\n".join(rows) + "\n]\n", "utf-8")


if __name__ == "__main__":
    record()
