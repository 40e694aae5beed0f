"""Types of parameters, checked where a call is handled.

Clients leave out what is empty or null, so a parameter that is missing has its empty value, except
where it is said to be needed.
"""

from supervisord_lite.control.calls import Call

#: Most names in one request; more is a mistake, for a glob or `all` says it shorter.
MAX_NAMES = 4096
#: Of a number, on either side of 0: times and counts are far below, and infinity is above.
_MOST = 1e300


class InvalidParameterError(Exception):
    """A parameter is missing or of the wrong type; the server answers InvalidParameter."""

    def __init__(self, parameter: str) -> None:
        """Take the name of the *parameter*."""
        super().__init__(parameter)
        self.parameter = parameter


def names(call: Call, *, needed: bool = False, parameter: str = "names") -> tuple[str, ...]:
    """Return a list of names, in order; empty when left out.

    Args:
        call: The request.
        parameter: Which one.
        needed: An empty list is an error: "nothing named" must never mean "all" to a method that
            changes something.

    Raises:
        InvalidParameterError: Not a list of texts, an empty text in it, or too many.
    """
    value = call.parameters.get(parameter)
    if value is None:
        value = []
    if not isinstance(value, list) or len(value) > MAX_NAMES or (needed and not value):
        raise InvalidParameterError(parameter)
    found: list[str] = []
    for name in value:
        if not isinstance(name, str) or not name:
            raise InvalidParameterError(parameter)
        found.append(name)
    return tuple(found)


def flag(call: Call, parameter: str) -> bool:
    """Return a truth value; false when left out.

    Raises:
        InvalidParameterError: Not true or false.
    """
    value = call.parameters.get(parameter)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidParameterError(parameter)
    return value


def numbers(call: Call, parameter: str) -> dict[str, int]:
    """Return names with a whole number each; at least one.

    Raises:
        InvalidParameterError: Something else, nothing, or too many.
    """
    value = call.parameters.get(parameter)
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_NAMES:
        raise InvalidParameterError(parameter)
    found: dict[str, int] = {}
    for name, number in value.items():
        if not name or not isinstance(number, int) or isinstance(number, bool):
            raise InvalidParameterError(parameter)
        found[name] = number
    return found


def text(call: Call, parameter: str) -> str:
    """Return a text that is needed.

    Raises:
        InvalidParameterError: Missing, empty or not a text.
    """
    value = call.parameters.get(parameter)
    if not isinstance(value, str) or not value:
        raise InvalidParameterError(parameter)
    return value


def number(call: Call, parameter: str) -> float | None:
    """Return a number, which is finite; None when left out.

    Raises:
        InvalidParameterError: Not a number, or none that a float holds.
    """
    value = call.parameters.get(parameter)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameterError(parameter)
    if not abs(value) <= _MOST:
        raise InvalidParameterError(parameter)
    return float(value)
