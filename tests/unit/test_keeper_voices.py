"""What a worker says becomes a fact as often as that is news."""

from typing import Any

from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.table import Run, Table
from supervisord_lite.keeper.voices import Voice, Voices


def test_who_says_without_end_that_it_hangs_says_so_once() -> None:
    """A fact stays in the table until it is applied: nobody may fill that."""
    table, notes = Table({}), list[dict[str, Any]]()
    voices = Voices(Calls(), table, lambda *_: None, lambda _: None, notes.append)
    voice = Voice(-1, folder="/run/x/w/web.1.1")
    voice.run = Run(("web", 1, 1), 100, "marker", None)
    voices._take(voice, b"READY=1\nWATCHDOG=trigger\n" * 50)
    assert [fact["fact"] for fact in table.facts] == ["said", "judged"]
