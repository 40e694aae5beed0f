"""TOML text to tree and places; a syntax error becomes one problem at its place."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from supervisord_lite.base.record import record
from supervisord_lite.config import slips
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.locate import Locations, Span, locate

if TYPE_CHECKING:
    from supervisord_lite.config.source import Source

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@record
class Document:
    """A text that is TOML 1.0: its tree, and where everything in it stands."""

    source: Source
    tree: dict[str, object]
    places: Locations


def parse(source: Source) -> Document:
    """Return the document that *source* holds.

    Raises:
        ConfigurationError: It is not TOML 1.0. Tells the first error, as nothing behind it has a
            sure meaning; or every use of what only TOML 1.1 allows.
    """
    text = source.text
    twice = text.find("\r\n")
    if twice >= 0:
        # tomllib would take it for the end of a line after all, and count other columns than we do.
        hint = "it was converted to CRLF twice: save the file with one kind of line end"
        raise ConfigurationError(
            [source.problem((twice, twice + 1), "a line ends in two carriage returns", hint)]
        )
    endless = slips.endless_key(text)
    if endless is not None:
        raise _too_deep(source, endless)
    try:
        tree = tomllib.loads(text)
        places = locate(text)
    except tomllib.TOMLDecodeError as error:
        where = _PLACE.search(str(error))
        message = _PLACE.sub("", str(error))
        placed = where is not None and where[1] is not None
        offset = source.offset(int(where[1]), int(where[2])) if where and placed else len(text)
        raise ConfigurationError([slips.explain(source, message, offset)]) from None
    except RecursionError:
        deepest = slips.deepest_bracket(text)
        raise _too_deep(source, (deepest, deepest + 1)) from None
    except ValueError:
        # Of int(), which refuses a number of more than 4300 digits.
        digits = re.search(r"[0-9_]{4300,}", text)
        span = digits.span() if digits else (0, 1)
        raise ConfigurationError([source.problem(span, "a number of too many digits")]) from None
    deep = [span for path, span in places.keys.items() if len(path) > slips.MAX_DEPTH]
    if deep:
        raise _too_deep(source, min(deep))
    if places.newer:
        newer = dict.fromkeys(places.newer)
        problems = [source.problem(span, what, slips.cure(what)) for span, what in newer]
        raise ConfigurationError(problems)
    return Document(source, tree, places)


def _too_deep(source: Source, span: Span) -> ConfigurationError:
    message = f"too deep: tables and lists may stand {slips.MAX_DEPTH} levels inside each other"
    return ConfigurationError([source.problem(span, message)])
