"""`shutdown`: stop everything in order and end the daemon."""

import argparse
import json
import sys
import time

from supervisord_lite.base import exit_codes
from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import place
from supervisord_lite.control.errors import GaveUpError, NoDaemonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    place.add_wait_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """End the daemon, and wait until it is gone."""
    began_s = time.monotonic()
    with place.connect(arguments) as client:
        try:
            client.call("Shutdown")
            gone = False
        except NoDaemonError:
            # Whoever was told to end may have ended before the answer left.
            gone = client.wait_until_gone(timeout_s=0.0)
            if not gone:
                raise
        try:
            if not gone and not arguments.no_wait:
                gone = client.wait_until_gone(timeout_s=arguments.timeout)
        except KeyboardInterrupt:
            print(f"\nstill going on: {place.command(arguments)} status", file=sys.stderr)
            return exit_codes.GAVE_UP
    if not gone and not arguments.no_wait:
        text = f"gave up after {format_duration(arguments.timeout)}"
        raise GaveUpError(text, hint=f"still going on: {place.command(arguments)} status")
    if arguments.json:
        print(json.dumps({"gone": gone}))
    elif gone:
        print(f"the daemon has ended, {format_duration(time.monotonic() - began_s)}")
    else:
        print(f"ordered: shutdown; see: {place.command(arguments)} status")
    return exit_codes.OK
