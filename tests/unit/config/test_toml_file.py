"""A configuration file is TOML, and the line of whatever stands in it is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.config.toml_file import MAX_SIZE, ConfigFile, ConfigFileError

TEXT = b"""\
# a comment
first = 1

list = [
  "a",  # [[x]]
  "b",
]
text = '''
first = 2
[[listen]]
'''

[[listen]]
endpoint = "1"

[[listen]]
# another comment
endpoint = "2"
"""


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_line_of_a_key_is_the_one_where_it_begins(ends: bytes) -> None:
    file = ConfigFile("f", TEXT.replace(b"\n", ends))
    for path, line in (
        (("first",), 2),
        (("list",), 4),
        (("text",), 8),
        (("listen",), 13),
        (("listen", 0), 13),
        (("listen", 0, "endpoint"), 14),
        (("listen", 1), 16),
        (("listen", 1, "endpoint"), 18),
    ):
        assert file.where(*path) == f"f:{line}", path


@given(st.lists(st.sampled_from(["# c", "", 'k = """\n\n"""', "k = [\n1,\n\n2]", "k = 1"])))
def test_the_line_of_every_key_is_found_in_any_file(statements: list[str]) -> None:
    lines, begins = [], {}
    for number, statement in enumerate(statements):
        if statement.startswith("k"):
            begins[f"k{number}"] = "\n".join([*lines, ""]).count("\n") + 1
        lines.append(statement.replace("k", f"k{number}", 1))
    file = ConfigFile("f", "\n".join(lines).encode())
    for key, line in begins.items():
        assert file.where(key) == f"f:{line}"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\n\nx = \n", 3),
        (b"a = 1\na = 2\n", 2),
        (b"[t]\n[t]\n", 2),
        (b"a = '\xff'", 1),
        (b"\n# \xe9", 2),
        (b'a = """\n\n', 1),
        (b"\x00", 1),
        (b"a = 1\rb = 2", 1),
    ],
)
def test_what_is_no_toml_is_one_line_with_its_place(data: bytes, line: int) -> None:
    with pytest.raises(ConfigFileError) as refused:
        ConfigFile("f", data)
    assert str(refused.value).startswith(f"f:{line}: ")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "data", [b"a" * (MAX_SIZE + 1), b"a = " + b"9" * 5000, b"a=" + b"[" * 9999]
)
def test_what_is_too_much_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ConfigFileError, match=r"\Af:.*\Z"):
        ConfigFile("f", data)


def test_a_byte_order_mark_of_an_editor_is_no_part_of_the_first_key() -> None:
    assert ConfigFile("f", b"\xef\xbb\xbfa = 1").values == {"a": 1}
