"""What a worker's runtime says holds no secret, however it is written."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from supervisord_lite.worker.masks import Masks
from supervisord_lite.worker.story import words_of

VALUE = "p/ss w\"o'rd\n\\né&\xff"
FORMS = (
    VALUE,
    repr(VALUE),
    json.dumps({"password": VALUE}),
    json.dumps({"password": VALUE}, ensure_ascii=False),
    f"postgres://u:{quote(VALUE, safe='')}@h",
    quote(VALUE),
    base64.b64encode(VALUE.encode()).decode(),
)


@pytest.mark.parametrize("text", FORMS)
def test_a_secret_is_hidden_as_others_write_it(text: str) -> None:
    """As it is, escaped, quoted for an address, in base64."""
    masks = Masks.from_environment({"SUPERVISORD_LITE_SECRETS": "A", "A": VALUE, "B": "b"})
    told = masks.masked(f"before {text} after b")
    assert told.startswith("before ")
    assert told.endswith(" after b")
    assert "***" in told
    assert "p/ss" not in told
    assert len(told) < len("before  after b") + 24


def test_a_longer_secret_is_hidden_before_a_part_of_it() -> None:
    """Nothing of it is left over."""
    assert Masks(["abcd", "abcdefgh"]).masked("abcdefgh abcd") == "*** ***"


def test_lines_of_a_secret_are_secret_too() -> None:
    """A key of several lines is rarely quoted whole."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    told = Masks([key]).masked("bad line: kqhkiG9w0BAQEF")
    assert told == "bad line: ***"


def test_a_secret_in_a_file_is_known_too(tmp_path: Path) -> None:
    """Without its last newline; one that has been taken away costs nothing."""
    (tmp_path / "A").write_text("hunter2\n")
    environ = {
        "SUPERVISORD_LITE_SECRETS": "A B", "A_FILE": str(tmp_path / "A"), "B_FILE": "/nowhere"
    }  # fmt: skip
    assert Masks.from_environment(environ).masked("hunter2!") == "***!"


def test_who_has_no_secrets_hides_nothing() -> None:
    """Nor is what is too short to be one looked for."""
    assert Masks.from_environment({"A": "hunter2"}).masked("hunter2") == "hunter2"
    assert Masks(["", "a", "abc"]).masked("abc") == "abc"


def test_the_words_of_a_crash_are_cut_after_they_are_masked() -> None:
    """Or the first line of a secret would be left."""
    error = ValueError("cannot use line one\nline two")
    assert words_of(error, Masks(["line one\nline two"])) == "ValueError: cannot use ***"
