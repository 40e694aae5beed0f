"""`scale NAME=N …`: another number of instances, now; with --save also in the file."""

import argparse
import json
import os
import sys
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import place
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.text import count, fold, printable
from supervisord_lite.control.client import Client

#: Times that the file may be changed by somebody else while it is written.
_MOST_TRIES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("sizes", metavar="NAME=N", nargs="+", help="a pool and its size")
    parser.add_argument(
        "--save", action="store_true", help="write pool_size into the configuration file too"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Order it; the file is written when the daemon has agreed."""
    sizes = _sizes(arguments.sizes)
    with place.connect(arguments) as client:
        if arguments.save:
            answer = _scale_and_save(client, sizes)
        else:
            answer = client.call("Scale", {"sizes": sizes})
    if arguments.json:
        print(json.dumps({"ok": True, "saved": arguments.save, **answer}))
        return exit_codes.OK
    for pool in answer.get("pools") or []:
        print(_line(pool, is_saved=arguments.save))
    return exit_codes.OK


def _scale_and_save(client: Client, sizes: dict[str, int]) -> dict[str, Any]:
    """Do both or neither, as far as that can be."""
    # Only who saves pays for the import of the loader.
    from supervisord_lite.config.turns import turn

    status = client.call("Status", {"names": list(sizes)})
    path = str((status.get("supervisor") or {}).get("config"))
    with turn(path):
        answer, (before, after) = _both(client, sizes, path)
        try:
            told = {"sizes": sizes, "file": path, "before": before, "after": after}
            client.call("SizesSaved", told)
        except SupervisordLiteError as error:
            # Both are done; only the daemon does not know that the file has it.
            text = f"saved, but the daemon could not be told ({error}): supervisord-lite reload"
            print(fold(text, indent=2), file=sys.stderr)
    for pool in answer.get("pools") or []:
        pool["file"] = pool.get("new")
    return answer


def _both(
    client: Client, sizes: dict[str, int], path: str
) -> tuple[dict[str, Any], tuple[str, str]]:
    """Scale, and write the file *path*; return the daemon's answer and the file's digests.

    Raises:
        NotSavedError: The file cannot be changed; whether that was known before scaling is said.
    """
    from supervisord_lite.config.rewrite import ChangedMeanwhileError, Edit, NotSavedError

    answer: dict[str, Any] | None = None
    tries = 0
    while True:
        tries += 1
        try:
            with Edit.of_sizes(path, sizes, environ=os.environ, as_root=os.geteuid() == 0) as edit:
                if answer is None:
                    answer = client.call("Scale", {"sizes": sizes})
                edit.write()
                return answer, edit.digests
        except NotSavedError as error:
            if isinstance(error, ChangedMeanwhileError) and tries < _MOST_TRIES:
                continue  # the same in what stands there now
            if answer is not None:
                error.hint = _only_scaled(sizes, path)
            raise


def _only_scaled(sizes: dict[str, int], path: str) -> str:
    """Return what has happened when only the file could not be written."""
    now = ", ".join(f"{pool} has {count(size, 'process')} now" for pool, size in sizes.items())
    return f"{now}; only the file is as it was: scale --save again, or edit {path}"


def _line(pool: dict[str, object], *, is_saved: bool) -> str:
    name, old, new, in_file = (pool.get(key) for key in ("pool", "old", "new", "file"))
    text = f"{printable(str(name))}   {old} -> {new}"
    if is_saved:
        return f"{text}   (saved)"
    if new == in_file:
        return f"{text}   (as in the file)"
    return f"{text}   (file: {in_file}; until that changes, or the service is stopped)"


def _sizes(words: list[str]) -> dict[str, int]:
    """Return pool -> size.

    Raises:
        UsageError: A word is not NAME=N.
    """
    sizes: dict[str, int] = {}
    for word in words:
        name, equals, number = word.partition("=")
        if not (name and equals and number.isascii() and number.isdigit()):
            text = f'"{word}" is not NAME=N'
            raise UsageError(text, hint="supervisord-lite scale web=4")
        if sizes.setdefault(name, int(number)) != int(number):
            text = f"{name} cannot have {sizes[name]} and {number} instances"
            raise UsageError(text)
    return sizes
