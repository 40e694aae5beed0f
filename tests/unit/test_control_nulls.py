"""What a client puts back into an answer is what the definition lets the daemon leave out."""

import varlink
from varlink import scanner as kinds

from supervisord_lite.control.interface import manager_description
from supervisord_lite.control.nulls import NULLABLE, NULLABLE_IN, with_nulls


def nullable(interface: varlink.Interface, name: str) -> set[str]:
    """Return the fields of a type that may be null."""
    fields = interface.members[name].type.fields
    return {name for name, kind in fields.items() if isinstance(kind, kinds._Maybe)}


def test_every_field_that_may_be_null_can_be_put_back() -> None:
    """Of a worker, and of what is inside it."""
    interface = varlink.Interface(manager_description())
    assert set(NULLABLE) == nullable(interface, "Worker")
    inside = {"recycle": "Recycle", "last_exit": "LastExit", "output": "Output"}
    assert {name: set(fields) for name, fields in NULLABLE_IN.items()} == {
        name: nullable(interface, kind) for name, kind in inside.items()
    }


def test_what_is_there_stays() -> None:
    """And what is not there at all has nothing inside."""
    whole = with_nulls({"pid": 7, "output": {"stdout": "null"}})
    assert (whole["pid"], whole["note"], whole["last_exit"]) == (7, None, None)
    assert whole["output"] == {"stdout": "null", "trouble": None}
