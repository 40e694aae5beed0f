"""Other code in place of this, as the keeper does it; supervisor and scribe are the test's."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.base.resident import own_code
from supervisord_lite.keeper import trial
from supervisord_lite.keeper.upgrade import LEAVE_S, WATCH_S
from supervisord_lite.wire import channel
from tests.support.keeper import as_subreaper
from tests.support.keeper_whole import SeamCalls, WholeKeeper

pytestmark = pytest.mark.process

OTHER = ("/opt/new/bin/python", "/opt/new/lib/supervisord_lite/base/resident.py")
GOOD = {"version": "9.9", "protocol": 1, "succession": None, "unusable": {"web/1": "torn"}}


class Upgraded(WholeKeeper):
    """A keeper whose supervisor also hears what trials came to."""

    def __init__(self) -> None:
        self.seam = SeamCalls()
        super().__init__(self.seam)
        self.tried: list[dict[str, Any]] = []

    def _be_supervisor(self) -> None:
        peer = self.calls.peers.get("supervisor")
        if peer is None or not self.answers:
            return  # it has not come to read anything
        for data, _ in peer.receive():
            message = channel.decode(data)
            if "trial" in message:
                self.tried.append(message["trial"])
            if "ping" in message:
                self.say(pong=message["ping"])

    def try_code(self, script: str) -> dict[str, Any]:
        """Let the other code's dry start be *script*; return what is told of it."""
        self.seam.trial = script
        before = len(self.tried)
        self.say(trial={"id": "t", "interpreter": OTHER[0], "resident": OTHER[1]})
        self.until(lambda: len(self.tried) > before, "the trial is over")
        return self.tried[-1]

    def put_in_force(self, code: tuple[str, str] = OTHER, *, keeper: bool = False) -> None:
        """Order it, as a supervisor that then leaves."""
        self.say(
            replace={
                "interpreter": code[0], "resident": code[1], "version": "9.9", "keeper": keeper,
            }
        )  # fmt: skip
        self.until(lambda: {"do": "leave"} in self.scribe_heard, "the scribe is told to leave")
        self.scribe_heard.clear()
        self.end_supervisor()

    def end_supervisor(self) -> None:
        """Kill it, and let that be known."""
        old = self.supervisor_pid
        self.kill_supervisor()
        self.until(lambda: self.supervisor_pid != old, "the supervisor has ended")

    def fail_supervisor(self) -> None:
        """Let it die of what is not counted as somebody's, before the keeper looks again."""
        old = self.supervisor_pid
        os.kill(old, signal.SIGTERM)
        self.calls.drop("supervisor")
        os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)
        self.until(lambda: self.supervisor_pid != old, "the supervisor has ended")

    def end_scribe(self) -> None:
        """Kill it, and let that be known."""
        old = self.keeper._scribe.pid
        os.kill(old, signal.SIGKILL)
        self.calls.drop("scribe")
        self.until(lambda: self.keeper._scribe.pid != old, "the scribe has ended")

    def started(self) -> list[tuple[str, str, str]]:
        """Return what was started since the last time."""
        codes, self.seam.codes = self.seam.codes, []
        return codes

    def lives(self) -> bool:
        both = self.keeper._supervisor, self.keeper._scribe
        return all(child.pid and child.is_settled for child in both)


@pytest.fixture
def keeper() -> Iterator[Upgraded]:
    with as_subreaper():
        made = Upgraded()
        try:
            made.until(made.lives, "supervisor and scribe answer")
            made.started()
            yield made
        finally:
            made.close()


def test_a_dry_start_reads_a_copy_and_its_answer_is_told(keeper: Upgraded) -> None:
    """It has the handover at 3, as a new supervisor would; nothing else changes."""
    answer = json.dumps(GOOD)
    script = f"grep -q keeper_pid <&3 && echo noise && echo '{answer}'"
    assert keeper.try_code(script) == {
        "id": "t", "ok": True, "version": "9.9", "protocol": 1, "unusable": {"web/1": "torn"},
        "reason": "",
    }  # fmt: skip
    assert keeper.started() == [(*OTHER, "trial")]
    assert keeper.lives()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Traceback:' >&2; echo 'SyntaxError: invalid syntax' >&2; exit 1",
         "SyntaxError: invalid syntax"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("exit 3", "exit 3"),
        ("echo nonsense", "its answer cannot be understood"),
        ("echo '[1]'", "its answer cannot be understood"),
        ("""echo '{"version": "2", "protocol": "1"}'""", "its answer cannot be understood"),
        ("""echo '{"reason": "no such key"}'""", "no such key"),
        ("yes x | head -c 200000 >&2; exit 1", "x"),
        ("", "its answer cannot be understood"),
    ],
)  # fmt: skip
def test_whatever_is_no_answer_is_a_no(keeper: Upgraded, script: str, reason: str) -> None:
    """A crash, an error, nonsense and silence, each with a reason for people."""
    told = keeper.try_code(script)
    assert not told["ok"]
    assert reason in told["reason"]
    assert len(told["reason"]) <= 500


def test_one_that_hangs_is_killed(keeper: Upgraded, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time; the keeper goes on meanwhile."""
    monkeypatch.setattr(trial, "LIMIT_S", 0.05)
    told = keeper.try_code("exec sleep 1000")
    assert told["reason"] == "its dry start gave no answer within 0.05 s"


def test_a_second_trial_beside_the_first_is_a_no(keeper: Upgraded) -> None:
    """Each comes to its own answer, the first one too."""
    keeper.seam.trial = "exec sleep 1000"
    order = {"interpreter": OTHER[0], "resident": OTHER[1]}
    keeper.say(trial={"id": "first", **order})
    keeper.say(trial={"id": "second", **order})
    keeper.until(lambda: len(keeper.tried) == 1, "the second one is told")
    first = keeper.keeper._upgrade._trial
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    keeper.until(lambda: len(keeper.tried) == 2, "the first one is told")
    reasons = [(each["id"], each["reason"]) for each in keeper.tried]
    ended = "its dry start ended with SIGKILL"
    assert reasons == [("second", "another trial is under way"), ("first", ended)]
    assert keeper.started() == [(*OTHER, "trial")]


def test_an_interpreter_that_is_not_there_is_a_no(keeper: Upgraded) -> None:
    """Nothing is started, and the next one may be tried."""
    keeper.seam.can_start = lambda path: path != OTHER[0]
    told = keeper.try_code("exit 0")
    assert told["reason"] == f"{OTHER[0]} cannot be started: No such file or directory"
    keeper.seam.can_start = lambda _path: True
    assert keeper.try_code("exit 3")["reason"] == "its dry start ended with exit 3"


def test_a_trial_ends_with_the_supervisor_that_wanted_it(keeper: Upgraded) -> None:
    """Nobody else waits for it."""
    keeper.seam.trial = "exec sleep 1000"
    keeper.say(trial={"id": "t", "interpreter": OTHER[0], "resident": OTHER[1]})
    keeper.until(lambda: keeper.keeper._upgrade._trial is not None, "it is tried")
    keeper.kill_supervisor()
    keeper.until(lambda: keeper.keeper._upgrade._trial is None, "the trial has ended")


def test_both_are_replaced_and_nobody_calls_it_a_death(keeper: Upgraded) -> None:
    """From the other code, at once, with what the former ones had said."""
    keeper.say(save={"k": "v"})
    keeper.put_in_force()
    keeper.end_scribe()
    keeper.until(keeper.lives, "both are back")

    assert sorted(keeper.started()) == [(*OTHER, "scribe"), (*OTHER, "supervisor")]
    assert keeper.calls.handovers[-1]["saves"]["k"] == "v"
    assert keeper.calls.handovers[-1]["protocol"] == channel.PROTOCOL
    assert "died" not in keeper.lines()
    keeper.turn()
    assert keeper.keeper._upgrade.deadline_s is None

    keeper.end_supervisor()
    keeper.until(keeper.lives, "from now on it is a crash as any other")
    assert keeper.started() == [(*OTHER, "supervisor")]
    assert "supervisor.died" in keeper.lines()


def test_a_scribe_that_does_not_leave_is_killed(keeper: Upgraded) -> None:
    """It may hang in a disk call; the supervisor does not wait for it."""
    keeper.put_in_force()
    keeper.until(lambda: keeper.keeper._supervisor.is_settled, "the supervisor is back")
    old = keeper.keeper._scribe.pid
    keeper.late_s += LEAVE_S
    keeper.until(lambda: keeper.keeper._scribe.pid not in (0, old), "there is another scribe")
    assert "scribe.did_not_leave" in keeper.lines()


def test_two_deaths_before_the_first_answer_are_the_way_back(keeper: Upgraded) -> None:
    """The former code is in force again, and is told why once."""
    keeper.answers = False
    keeper.put_in_force()
    keeper.end_scribe()
    for _ in range(2):
        keeper.until(lambda: keeper.keeper._supervisor.pid, "it was started")
        keeper.end_supervisor()
    keeper.answers = True
    keeper.until(lambda: {"do": "leave"} in keeper.scribe_heard, "the scribe has to leave, too")
    keeper.end_scribe()
    keeper.until(keeper.lives, "the former ones are back")

    ours = [code for code in keeper.started() if code[:2] == own_code()]
    assert sorted(role for *_, role in ours) == ["scribe", "supervisor"]
    assert "its supervisor died before it answered: " in keeper.calls.handovers[-1]["fell_back"]
    assert "upgrade.failed" in keeper.lines()
    keeper.turn()
    keeper.end_supervisor()
    keeper.until(keeper.lives, "another one takes over")
    assert keeper.calls.handovers[-1]["fell_back"] == ""


@pytest.mark.parametrize(("is_late", "code"), [(False, own_code()), (True, OTHER)])
def test_what_dies_three_times_in_a_minute_is_gone_back_from(
    keeper: Upgraded, is_late: bool, code: tuple[str, str]
) -> None:
    """Two deaths in it and one behind it are no three, however long the keeper has slept."""
    keeper.put_in_force()
    keeper.end_scribe()
    keeper.until(keeper.lives, "both are back")
    keeper.turn()
    for _ in range(2):
        keeper.fail_supervisor()
        keeper.until(keeper.lives, "another one answers")
    keeper.late_s += WATCH_S if is_late else 0.0
    keeper.fail_supervisor()
    if not is_late:
        keeper.until(lambda: {"do": "leave"} in keeper.scribe_heard, "the scribe has to leave")
        keeper.end_scribe()
    keeper.until(keeper.lives, "both answer")
    assert keeper.started()[-1][:2] == code
    assert ("upgrade.failed" in keeper.lines()) != is_late


def test_code_that_is_gone_is_the_way_back(keeper: Upgraded) -> None:
    """It was there when it was tried."""
    keeper.seam.can_start = lambda path: path != OTHER[0]
    keeper.hurry_s = 0.05
    keeper.put_in_force()
    keeper.end_scribe()
    keeper.until(keeper.lives, "the former ones are back")
    assert keeper.calls.handovers[-1]["fell_back"]


def test_an_end_without_a_word_is_no_verdict(keeper: Upgraded) -> None:
    """Also where there is no way back: the service does not end for code that is not right."""
    keeper.answers = False
    keeper.put_in_force(own_code())
    keeper.end_scribe()
    keeper.until(lambda: keeper.keeper._supervisor.pid, "it was started")
    assert keeper.keeper._upgrade.is_no_verdict()
    keeper.answers = True
    keeper.until(keeper.lives, "it has answered")
    keeper.turn()
    assert not keeper.keeper._upgrade.is_no_verdict()


def test_there_is_no_way_back_to_the_same_path(keeper: Upgraded) -> None:
    """What was there before is not there any more: the rule of ten deaths remains."""
    keeper.answers = False
    keeper.put_in_force(own_code())
    keeper.end_scribe()
    for _ in range(3):
        keeper.until(lambda: keeper.keeper._supervisor.pid, "it was started")
        keeper.end_supervisor()
    assert "upgrade.failed" not in keeper.lines()
    assert keeper.keeper._supervisor.early_deaths == 3
