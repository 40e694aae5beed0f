"""``%i`` and ``%{8000..}``: what differs between the instances of a pool.

Imported by the daemon, which expands texts at each start: no `re`, one pass.
"""

from __future__ import annotations

#: More digits than any port or shard has; longer ones are nothing special.
_MAX_DIGITS = 18


def instance_text(text: str, index: int) -> str:
    """Return *text* for one instance.

    ``%i`` is the instance's number. ``%{8000..}`` counts up: 8000 for instance 1, 8001 for
    instance 2; ``%{00..}`` keeps its width: 00, 01. A doubled per cent sign makes either literal:
    ``%%i`` is ``%i``. Nothing else is special, so ``%h``, ``%(name)s`` and ``%Y-%m`` pass.

    Args:
        text: Any text of a spec.
        index: 1 for the first instance.
    """
    assert index >= 1, index
    position = text.find("%")
    if position < 0:
        return text
    parts: list[str] = []
    done = 0
    while position >= 0:
        length = _placeholder_length(text, position)
        if length:
            word = text[position : position + length]
            parts += text[done:position], _value(word, index)
            done = position + length
        elif text.startswith("%", position + 1) and (
            length := _placeholder_length(text, position + 1)
        ):
            parts.append(text[done:position])
            done = position + 1 + length
            parts.append(text[position + 1 : done])
        position = text.find("%", max(done, position + 1))
    parts.append(text[done:])
    return "".join(parts)


def instance_value(value: object, index: int) -> object:
    """Return *value*, as JSON has it, with `instance_text` of every text in it; not of keys."""
    if isinstance(value, str):
        return instance_text(value, index)
    if isinstance(value, list):
        return [instance_value(item, index) for item in value]
    if isinstance(value, dict):
        return {key: instance_value(item, index) for key, item in value.items()}
    return value


def literal_text(text: str) -> str:
    """Return what `instance_text` turns into *text* for every instance."""
    parts: list[str] = []
    done = 0
    position = text.find("%")
    while position >= 0:
        if _placeholder_length(text, position):
            parts += text[done:position], "%"
            done = position
        position = text.find("%", position + 1)
    parts.append(text[done:])
    return "".join(parts)


def _placeholder_length(text: str, start: int) -> int:
    """Return how long the placeholder at *start* is; 0: there is none."""
    if text.startswith("i", start + 1):
        return 2
    if not text.startswith("{", start + 1):
        return 0
    end = text.find("..}", start + 2, start + 2 + _MAX_DIGITS + 3)
    digits = text[start + 2 : end] if end >= 0 else ""
    return end + 3 - start if digits.isascii() and digits.isdigit() else 0


def _value(placeholder: str, index: int) -> str:
    if placeholder == "%i":
        return str(index)
    digits = placeholder[2:-3]
    return str(int(digits) + index - 1).zfill(len(digits))
