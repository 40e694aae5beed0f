"""The command: parse, call, print. One file per verb, imported only when it is typed.

A verb's module has two functions: `add_arguments(parser)` and `run(arguments) -> int`, the exit
code. What goes wrong is raised as a `SupervisordLiteError`, which carries exit code and hint, and
told here in one shape::

    supervisord-lite: VERB NAME: what is wrong
      why, and what to type

Nothing that a worker, a file or a daemon says reaches the terminal as it is: `text.printable`
escapes control characters on the way.
"""

import errno
import os
import sys
from collections.abc import Sequence

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import verbs
from supervisord_lite.cli.first_process import hold_signals_back
from supervisord_lite.cli.text import fold, printable
from supervisord_lite.control.errors import NoSuchWorkerError

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Words after the command's name; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _forgive_encodings()
    try:
        status = _main(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # whoever read has seen enough: `… | head`
        return exit_codes.OK
    except KeyboardInterrupt:
        return exit_codes.GAVE_UP
    except OSError as error:
        if error.errno not in _DISK_ERRORS or error.filename is not None:
            raise  # not the output: a fault of ours, and its traceback is wanted
        _drop_output()
        return tell(SupervisordLiteError(f"cannot write the output: {error.strerror}"))
    return status


def _drop_output() -> None:
    """Give up what could not be written, or Python would try again, and complain, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _main(words: list[str]) -> int:
    """Find the verb and run it."""
    before, verb, after = verbs.split(words)
    if verb is None:
        return _without_verb(before)
    if verb not in verbs.HELP:
        return tell(verbs.unknown(verb))
    if verb == "run":
        hold_signals_back()
    try:
        module = verbs.load(verb)
        parser = verbs.parser_for(verb, module)
        arguments = parser.parse_intermixed_args([*before, *after])
    except SystemExit as end:  # argparse has said what there is to say
        return end.code if isinstance(end.code, int) else exit_codes.USAGE
    try:
        return module.run(arguments)
    except SupervisordLiteError as error:
        if isinstance(error, NoSuchWorkerError):
            from supervisord_lite.cli.absent import explain

            error = explain(error, arguments)
        subject = getattr(error, "subject", "") or " ".join(getattr(arguments, "names", None) or [])
        return tell(error, verb=verb, subject=subject)


def _without_verb(words: list[str]) -> int:
    """Answer `supervisord-lite`, `--help` and `--version`."""
    if "--version" in words:
        return _main(["version"])
    if "--help" in words or "-h" in words:
        print(verbs.overview())
        return exit_codes.OK
    if sys.stderr is not None:
        print(verbs.overview(), file=sys.stderr)
    return exit_codes.USAGE


def tell(error: SupervisordLiteError, *, verb: str = "", subject: str = "") -> int:
    """Print *error* on stderr and return its exit code."""
    context = ""
    if verb and error.exit_code != exit_codes.NO_DAEMON:
        words = f"{verb} {subject}".strip()
        context = (words if len(words) <= 50 else words[:47] + "...") + ": "
    first, *more = f"supervisord-lite: {context}{error}".split("\n")
    # The lines of a traceback, say, are read, and copied, as they are.
    lines = [fold(first, indent=2), *(printable(line) for line in more)]
    lines.extend(fold(f"  {line}", indent=2) for line in error.hint.splitlines())
    if error.exit_code == exit_codes.CONFIGURATION:
        lines = str(error).splitlines()  # editors read "file:line:column" at the beginning
    if sys.stderr is not None:
        print("\n".join(lines), file=sys.stderr)
    return error.exit_code


def _forgive_encodings() -> None:
    """Let a terminal that lacks a character show its code instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
