"""Whether a target takes what the configuration has for it, in words for whoever wrote that.

Used by the worker itself, before it runs; by `check --imports`, in the worker's interpreter.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from supervisord_lite.base.suggest import nearest
from supervisord_lite.worker import shape
from supervisord_lite.worker.target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class MisfitError(TargetError):
    """An argument that a target does not take, or does not get.

    Attributes:
        argument: Its name; empty: it is about none in particular.
        problem: Without the signature: ``rank takes no "tpo"``.
        hint: The way out; may be empty.
    """

    def __init__(self, message: str, *, argument: str, problem: str, hint: str) -> None:
        """Take the whole *message*, and its parts."""
        super().__init__(message, hopeless=True)
        self.argument = argument
        self.problem = problem
        self.hint = hint


def signature_of(target: Any) -> inspect.Signature | None:
    """Return the signature; None: it is written in C, and says nothing of itself.

    Raises:
        TargetError: It cannot be called.
    """
    if not callable(target):
        message = f"{target!r} can be neither called nor run"
        raise TargetError(message, hopeless=True)
    try:
        return inspect.signature(target)
    except ValueError:
        return None


def takes_context(signature: inspect.Signature) -> bool:
    """Return whether a parameter `context` wants to be given."""
    wanted = signature.parameters.get("context")
    return wanted is not None and wanted.kind in _NAMED


def check(target: Any, arguments: Iterable[str]) -> None:
    """Judge whether *target* takes exactly these keyword arguments.

    Raises:
        MisfitError: It does not; of several misfits the first.
        TargetError: It cannot be called, or that would run nothing.
    """
    signature = signature_of(target)
    shape.check(target)
    if signature is None:
        return
    given = dict.fromkeys(arguments)
    if takes_context(signature):
        given.setdefault("context")
    try:
        signature.bind(**given)
    except TypeError as error:
        raise _misfit(target, signature, given, str(error)) from None


def _misfit(
    target: Any, signature: inspect.Signature, given: dict[str, None], why: str
) -> MisfitError:
    name = getattr(target, "__name__", repr(target))
    parameters = signature.parameters.values()
    names = [each.name for each in parameters if each.kind in _NAMED]
    word, thing = (
        ("field", "fields")
        if hasattr(target, "__dataclass_fields__")
        else (("argument", "arguments"))
    )
    known = [each for each in names if each != "context"]
    listed = f"{thing}: {', '.join(known)}" if known else f"it has no {thing}"
    strange = next((each for each in given if each not in names), None)
    if strange is not None:
        # Where another is missing too, it is as a rule the one that was meant.
        if repr(strange) not in why:
            why = f"got an unexpected keyword argument {strange!r}"
        problem = f'{name} has no {word} "{strange}"'
        near = nearest(strange, known)
        hint = f'did you mean "{near}"? {listed}' if near else listed
    else:
        empty = inspect.Parameter.empty
        missing = [
            each.name
            for each in parameters
            if each.kind in _NAMED and each.default is empty and each.name not in given
        ]
        if missing:
            strange = missing[0]
            problem = f'{name} needs the {word} "{strange}"'
            hint = f"config.{strange} = …; {listed}"
        else:  # positional only
            problem, hint = f"{name}: {why}", listed
    message = f"{name}{signature}: {why}" + (f"; {hint}" if hint else "")
    return MisfitError(message, argument=strange or "", problem=problem, hint=hint)
