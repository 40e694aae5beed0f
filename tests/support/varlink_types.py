"""What a varlink definition promises of a message, checked to the letter.

The text is read by PyPI's `varlink`, which we did not write. Its own check of replies is lenient:
it fills in what is missing and drops what nobody has declared.
"""

from collections.abc import Iterator
from typing import Any

from varlink import Interface
from varlink import scanner as kinds


def mismatches(interface: Interface, declared: Any, value: object, at: str) -> Iterator[str]:
    """Yield each place where *value* is not of the type *declared*; a field is there or nullable.

    Args:
        interface: Where custom types are looked up.
        declared: A type as the package has read it.
        value: As it came from JSON.
        at: Where that is, for people.
    """
    match declared:
        case kinds._CustomType(name=name):
            yield from mismatches(interface, interface.members[name].type, value, at)
        case kinds._Maybe(element_type=inner):
            if value is not None:
                yield from mismatches(interface, inner, value, at)
        case kinds._Array(element_type=inner) if isinstance(value, list):
            for index, each in enumerate(value):
                yield from mismatches(interface, inner, each, f"{at}[{index}]")
        case kinds._Dict(element_type=inner) if isinstance(value, dict):
            for key, each in value.items():
                yield from mismatches(interface, inner, each, f"{at}[{key}]")
        case kinds._Enum(fields=fields) if value in fields:
            pass
        case kinds._Struct(fields=fields) if isinstance(value, dict):
            for name in value.keys() - fields.keys():
                yield f"{at}.{name}: declared nowhere"
            for name, inner in fields.items():
                if name in value or not isinstance(inner, kinds._Maybe):
                    yield from mismatches(interface, inner, value.get(name), f"{at}.{name}")
        case _:
            if not _is_plain(declared, value):
                yield f"{at}: {value!r} is not {declared!r}"


def _is_plain(declared: Any, value: object) -> bool:
    """Return whether a value is of a plain type; the package shows those by an empty value."""
    if isinstance(declared, kinds._Object):
        return isinstance(value, dict)  # whose fields the text tells in words
    if isinstance(declared, float) and isinstance(value, int):
        return not isinstance(value, bool)
    return type(declared) in {bool, int, float, str} and type(value) is type(declared)
