"""`why NAME`: in five parts why a worker is as it is, from the event journal."""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.cli import deciding, place, snapshot
from supervisord_lite.cli.events import name_user
from supervisord_lite.cli.story import Story, lines_of
from supervisord_lite.cli.text import fold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="a worker, a pool or a glob")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print a story for each worker."""
    with place.connect(arguments) as client:
        answer = client.call("Why", {"names": arguments.names})
    events = [event for event in answer.get("events") or [] if isinstance(event, dict)]
    for event in events:
        name_user(event)
    now = datetime.now(UTC)
    stories = [
        Story({**told, "worker": shown}, events, now=now)
        for told, shown in zip(
            answer["workers"],
            snapshot.snapshot(
                {**answer, "workers": [told["worker"] for told in answer["workers"]]}
            )["workers"],
            strict=True,
        )
    ]
    if arguments.json:
        print(json.dumps(_json(stories, answer), indent=2 if sys.stdout.isatty() else None))
    else:
        _print(stories, answer, place.command(arguments))
    return exit_codes.OK


def _print(stories: list[Story], answer: dict[str, Any], command: str) -> None:
    last_words = list(answer.get("last_words") or [])
    for number, story in enumerate(stories):
        if number:
            print()
        keys = deciding.keys_for(
            story.state, story.reasons(), has_run=bool(story.worker.get("run"))
        )
        decided = []
        if keys:
            decided = deciding.decided_by(story.told, keys, str(answer.get("config") or ""))
        print("\n".join(lines_of(story, last_words, decided, command=command)))
    if answer.get("problem"):
        sys.stdout.flush()
        text = f"supervisord-lite: why: the journal is not complete: {answer['problem']}"
        print(fold(text, indent=2), file=sys.stderr)


def _json(stories: list[Story], answer: dict[str, Any]) -> dict[str, Any]:
    """Return what `--json` prints: for each worker what its text is made of."""
    words = answer.get("last_words") or []
    return {
        "problem": answer.get("problem"),
        "workers": [
            {
                **{key: value for key, value in story.told.items() if key != "worker"},
                "worker": story.worker,
                "events": story.events,
                "last_words": [each for each in words if each.get("name") == story.worker["name"]],
            }
            for story in stories
        ],
    }
