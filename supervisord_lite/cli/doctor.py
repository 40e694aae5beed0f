"""`doctor`: look at file, box, unit and daemon, and say what to do about each finding."""

import argparse
import json

from supervisord_lite.base import exit_codes
from supervisord_lite.base.record import fields_of
from supervisord_lite.cli.doctor_checks import findings, looked_at
from supervisord_lite.cli.doctor_facts import gather
from supervisord_lite.cli.text import count, fold

_INDENT = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="the configuration file; default: that of the daemon"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; exit 1 if one of them is an error."""
    facts = gather(arguments)
    found, names = findings(facts), looked_at(facts)
    if arguments.json:
        print(json.dumps({"looked_at": names, "findings": [fields_of(each) for each in found]}))
    else:
        for each in found:
            print(fold(f"{each.level:<{_INDENT - 1}} {each.text}", indent=_INDENT))
            if each.remedy:
                print(fold(f"{'':<{_INDENT - 1}} -> {each.remedy}", indent=_INDENT + 3))
        good = [about for about in names if about not in {each.about for each in found}]
        if good:
            print(fold(f"{'ok':<{_INDENT - 1}} {', '.join(good)}", indent=_INDENT))
        print(f"{count(len(found), 'finding')}. Nothing was changed.")
    is_bad = any(each.level == "error" for each in found)
    return exit_codes.FAILED if is_bad else exit_codes.OK
