"""`version`: of this command, and of the daemon if one answers."""

import argparse
import json

import supervisord_lite
from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import place
from supervisord_lite.cli.text import printable

#: Nobody waits long to hear a version.
_ANSWER_TIMEOUT_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the versions; that no daemon answers is no failure."""
    daemon: str | None = None
    try:
        with place.connect(arguments, answer_timeout_s=_ANSWER_TIMEOUT_S) as client:
            daemon = str(client.call("Version").get("version"))
    except SupervisordLiteError:
        if arguments.socket or arguments.instance:
            raise  # somebody asked about that one
    if arguments.json:
        print(json.dumps({"version": supervisord_lite.__version__, "daemon": daemon}))
    else:
        print(f"supervisord-lite {supervisord_lite.__version__}")
        if daemon is not None:
            print(f"daemon           {printable(daemon)}")
    return exit_codes.OK
