"""Records are values: what they hold is what they are."""

import subprocess
import sys

import pytest

from supervisord_lite.base.record import defaults_of, fields_of, record, replace


@record
class Place:
    """Where something stands."""

    file: str
    line: int = 1

    def shown(self) -> str:
        return f"{self.file}:{self.line}"


@record
class Nowhere:
    """Nothing to say."""


@record
class Elsewhere:
    """The same fields under another name."""

    file: str
    line: int = 1


def test_fields_are_given_by_place_or_name_and_defaults_fill_in() -> None:
    """What is not given is the default; what has none must be given."""
    assert fields_of(Place("a")) == {"file": "a", "line": 1}
    assert fields_of(Place(line=3, file="b")) == {"file": "b", "line": 3}
    assert defaults_of(Place) == {"line": 1}
    assert Place("a").shown() == "a:1"
    with pytest.raises(TypeError, match="file"):
        Place()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="column"):
        Place("a", column=2)  # type: ignore[call-arg]


def test_equal_is_the_same_class_with_the_same_fields() -> None:
    """Two classes without fields, or with the same, are never equal."""
    assert Place("a") == Place("a", 1)
    assert Place("a") != Place("a", 2)
    assert Nowhere() == Nowhere()
    others: list[object] = [Elsewhere("a"), ("a", 1), (), None]
    assert Place("a") not in others
    assert Nowhere() not in others
    assert len({Place("a"), Place("a", 1), Elsewhere("a"), Nowhere(), Nowhere()}) == 3


def test_replace_changes_what_is_named_and_leaves_the_original() -> None:
    """A record never changes; another one is made."""
    place = Place("a", 4)
    assert replace(place, line=5) == Place("a", 5)
    assert place == Place("a", 4)
    with pytest.raises(TypeError, match="column"):
        replace(place, column=2)


def test_a_record_has_no_other_attributes_and_can_be_matched_and_read() -> None:
    """A misspelt attribute is an error; a pattern takes fields by place; a failed test shows it."""
    with pytest.raises(AttributeError):
        Place("a").column = 2  # type: ignore[attr-defined]
    match Place("a", 7):
        case Place(file, 7):
            assert file == "a"
        case _:
            pytest.fail("did not match")
    assert repr(Place("a", 7)) == "Place(file='a', line=7)"
    assert repr(Nowhere()) == "Nowhere()"


def test_a_default_before_a_field_without_one_is_refused() -> None:
    """The order of the arguments would not be that of the fields."""
    with pytest.raises(AssertionError, match="defaults stand last"):

        @record
        class Wrong:
            file: str = ""
            line: int  # type: ignore[misc]


def test_a_supervisor_takes_over_without_dataclasses() -> None:
    """They, and `inspect` with them, would cost a third of the time that an adoption takes."""
    text = (
        "import sys, supervisord_lite.supervisor.loop as loop\n"
        "sys.exit(repr({'dataclasses', 'inspect', 'ast', 'dis'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''", done.stderr
