"""`metrics`: the status as metrics in the text format of Prometheus, as /metrics has it."""

import argparse
import json
import sys

from supervisord_lite.base import exit_codes
from supervisord_lite.cli import place, snapshot
from supervisord_lite.control.nulls import with_nulls
from supervisord_lite.supervisor.metrics import metrics_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="the status that they are made of")


def run(arguments: argparse.Namespace) -> int:
    """Print the metrics."""
    with place.connect(arguments) as client:
        answer = client.call("Status", {"names": [], "samples": True})
    answer["workers"] = [with_nulls(worker) for worker in answer["workers"]]
    if arguments.json:
        print(json.dumps(snapshot.snapshot(answer)))
    else:
        sys.stdout.write(metrics_text(answer))
    return exit_codes.OK
