"""`signal SIG NAME...`: send a signal to each leader; of one that is being replaced, to both."""

import argparse
import json
import signal
import sys

from supervisord_lite.base import exit_codes
from supervisord_lite.cli import place
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.text import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("signal", metavar="SIG", help="HUP, SIGHUP or 1")
    parser.add_argument("names", metavar="NAME", nargs="*", help="a worker, pool, glob or all")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Send it."""
    name = signal_name(arguments.signal)
    if not arguments.names:
        text = "to which workers?"
        raise UsageError(text, hint="supervisord-lite signal SIG NAME..., or all for every one")
    with place.connect(arguments) as client:
        answer = client.call("Signal", {"names": arguments.names, "signal": name})
    sent = int(answer.get("sent") or 0)
    if arguments.json:
        print(json.dumps({"sent": sent}))
    elif sent:
        print(f"{name} sent to {count(sent, 'process')}")
    else:
        print("supervisord-lite: no process of these runs; nothing was sent", file=sys.stderr)
    return exit_codes.OK if sent else exit_codes.FAILED


def signal_name(text: str) -> str:
    """Return the name with SIG of a signal that is written HUP, SIGHUP, hup, 1 or -1.

    Raises:
        UsageError: It is none.
    """
    word = text.removeprefix("-").upper()
    try:
        if word.isdecimal():
            return signal.Signals(int(word)).name
        return signal.Signals["SIG" + word.removeprefix("SIG")].name
    except (KeyError, ValueError):
        message = f'"{text}" is no signal'
        raise UsageError(
            message, hint="it stands first: supervisord-lite signal HUP NAME"
        ) from None
