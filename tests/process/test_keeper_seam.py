"""Each system call of the keeper fails once, at every place where it is made."""

import errno
import os
import signal
import socket
from pathlib import Path

import pytest

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.keeper import children, supervisor_side
from supervisord_lite.keeper.pulse import HANG_S, Pulse
from supervisord_lite.wire import channel
from tests.support import leftovers
from tests.support.keeper import open_descriptors, request
from tests.support.keeper_life import a_keeper, ended, fails_once, start
from tests.support.keeper_whole import WholeKeeper
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Kind of call and how it fails.
FAILURES = [
    ("fork", errno.EAGAIN), ("fork", errno.ENOMEM), ("fork_into", errno.EAGAIN),
    ("fork_into", errno.ENOSYS), ("posix_spawn", errno.EAGAIN),
    ("posix_spawn", errno.ENOMEM), ("pipe2", errno.EMFILE), ("memfd_create", errno.EMFILE),
    ("mkdir", errno.ENOSPC), ("rmdir", errno.EBUSY), ("open", errno.EMFILE),
    ("read", errno.EIO), ("write", errno.EBUSY), ("waitid", errno.EINTR),
    ("pidfd_open", errno.EMFILE), ("pidfd_send_signal", errno.EPERM),
    ("socketpair", errno.EMFILE), ("chdir", errno.EIO), ("kill", errno.EPERM),
    ("listdir", errno.EMFILE),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cgroups", [True, False], ids=["cgroup", "no cgroup"])
@pytest.mark.parametrize(("kind", "number"), FAILURES)
def test_any_call_may_fail_once(kind: str, number: int, cgroups: bool) -> None:
    """A refused call costs one start or a moment: nothing is lost, leaked, or left behind."""
    fails_once(kind, number, cgroups=cgroups)


def test_a_new_supervisor_gets_saves_and_unapplied_facts() -> None:
    """Saves are the last ones said; facts that nobody applied are told again, in order."""
    with a_keeper() as keeper:
        run = start(keeper, "web", "sleep", "100")
        keeper.say(save={"worker/web/1": "two", "gone": "x"}, applied=max(keeper.facts))
        keeper.say(save={"gone": None})
        keeper.turn()
        keeper.kill_supervisor()
        os.kill(keeper.keeper._table.runs["web", 1, run].pid, signal.SIGKILL)
        keeper.until(lambda: len(keeper.calls.handovers) == 2, "there is another supervisor")
        keeper.until(lambda: ended(keeper, "web", run), "the exit is told")

        first, second = keeper.calls.handovers
        assert first["adoption"] == 0
        assert second["adoption"] == 1
        assert second["saves"] == {"settings": "{}", "worker/web/1": "two"}
        assert second["applied"] == 1
        assert all(fact["n"] > 1 for fact in second["facts"])
        assert [fact["n"] for fact in keeper.facts.values()] == [1, 2]
        lives = {(run["pool"], run["run"]) for run in second["inventory"]}
        assert lives <= {("web", run)}


def test_what_a_dead_supervisor_had_said_still_counts() -> None:
    """Words that lay unread when it was killed are carried out."""
    with a_keeper() as keeper:
        keeper.until(lambda: "supervisor" in keeper.calls.peers, "there is a supervisor")
        # It never reads: so its death is a reset, with its words still to come.
        keeper.keeper._table.fact("signalled", 0.0, signal="SIGUSR2")
        keeper.keeper._turn(keeper.now_s)
        keeper.say(save={"a": "1"}, do=[request("web", "sleep", "100")])
        keeper.say(save={"b": "2"})
        keeper.kill_supervisor()
        keeper.until(lambda: len(keeper.calls.handovers) == 2, "there is another supervisor")

        saves = keeper.calls.handovers[1]["saves"]
        assert (saves["a"], saves["b"]) == ("1", "2")
        assert keeper.fact("web", "spawned")


def test_a_message_too_large_for_a_packet_is_taken_as_a_whole() -> None:
    """A changed configuration of any size is in the keeper, or it is not."""
    with a_keeper() as keeper:
        run = start(keeper, "web", "sleep", "100")
        specs = {f"spec/{n}": "x" * 1000 for n in range(1000)}
        ask = request("more", "sleep", "100")
        file = memory_file(channel.encode_whole({"save": {**specs, "settings": None}, "do": [ask]}))
        keeper.calls.peers["supervisor"].send(channel.IN_MEMORY, (file,), owned=True)
        keeper.turn()

        saves = keeper.keeper._table.saves
        assert saves == {**specs, "worker/web/1": "run 1"}
        assert keeper.fact("more", "spawned")
        assert run == 1
        assert not [what for what in open_descriptors().values() if "memfd:message" in what]


def test_many_orders_at_once_keep_the_keeper_from_nobody() -> None:
    """They are carried out in slices; and all of them, though the supervisor is killed meanwhile.

    What it has said is what its successor finds, to the last word of it.
    """
    with a_keeper() as keeper:
        keeper.until(lambda: "supervisor" in keeper.calls.peers, "there is a supervisor")
        names = [f"w{number}" for number in range(300)]
        lines = [
            channel.encode({"save": {f"worker/{name}/1": "x"}, "do": [request(name, "true")]})
            for name in names
        ]
        lines.append(channel.encode({"save": {"pools": "new"}}))
        file = memory_file(b"\n".join(lines))
        keeper.calls.peers["supervisor"].send(channel.IN_LINES, (file,), owned=True)
        keeper.keeper._supervisor.read()
        assert keeper.keeper._supervisor.is_behind, "three hundred starts are more than a slice"
        assert "pools" not in keeper.keeper._table.saves
        keeper.kill_supervisor()
        keeper.until(lambda: len(keeper.calls.handovers) == 2, "there is another supervisor")

        handover = keeper.calls.handovers[1]
        assert handover["saves"].keys() >= {*(f"worker/{name}/1" for name in names), "pools"}
        begun = {fact["pool"] for fact in handover["facts"] if fact["fact"] == "spawned"}
        awaited = {run["pool"] for run in handover["inventory"]}
        assert begun | awaited == set(names), "whom it has asked for is known"
        keeper.until(lambda: count_spawned(keeper) == len(names), "all are started")
        assert all(keeper.keeper._table.is_known((name, 1, 1)) for name in names)


def test_who_says_more_than_is_obeyed_waits_and_all_of_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keeper's memory is not what holds it; to the last word, though it dies meanwhile."""
    monkeypatch.setattr(supervisor_side, "_MOST_AHEAD_BYTES", 1000)
    with a_keeper() as keeper:
        keeper.until(lambda: "supervisor" in keeper.calls.peers, "there is a supervisor")
        peer, side = keeper.calls.peers["supervisor"], keeper.keeper._supervisor
        with monkeypatch.context() as slow:
            slow.setattr(supervisor_side, "_BUDGET_S", 0.0)
            said = [f"worker/{number}/1" for number in range(100)]
            for name in said:
                keeper.say(save={name: "x" * 100})
            assert not peer.is_blocked
            for _ in range(10):
                side.read()
                assert side.is_behind
                assert sum(map(len, side._heard)) < 2000
            keeper.kill_supervisor()
            keeper.until(lambda: len(keeper.calls.handovers) == 2, "there is another supervisor")
        assert keeper.calls.handovers[1]["saves"].keys() >= set(said)
        keeper.say(save={"last": "1"})
        keeper.until(lambda: "last" in keeper.keeper._table.saves, "the next one is heard")
        assert side._heard_bytes == 0


def count_spawned(keeper: WholeKeeper) -> int:
    return sum(fact["fact"] == "spawned" for fact in keeper.facts.values())


def test_facts_that_fit_into_no_message_are_told_in_smaller_ones() -> None:
    """A hundred long reasons at once reach the supervisor."""
    with a_keeper() as keeper:
        keeper.until(lambda: "supervisor" in keeper.calls.peers, "there is a supervisor")
        for n in range(100):
            keeper.say(do=[request(f"bad{n}", "/" + "é" * 5000)])

        keeper.until(lambda: len(keeper.facts) == 100, "all are told")

        assert [f["fact"] for f in keeper.facts.values()] == ["spawn_failed"] * 100


def test_nonsense_from_the_supervisor_is_logged_and_nothing_more() -> None:
    """The keeper outlives a supervisor that has lost its mind."""
    with a_keeper() as keeper:
        run = start(keeper, "web", "sleep", "100")
        for message in (
            {"do": [{"do": "signal", "pool": "web"}]},
            {"do": 7},
            {"save": ["x"]},
            {"applied": 10**9},
            {"do": [{"do": "signal", "pool": "web", "index": 1, "run": run, "signal": 999,
                     "scope": "leader"}]},
        ):  # fmt: skip
            keeper.say(**message)
        keeper.calls.peers["supervisor"].send(b"\xff")
        keeper.calls.peers["supervisor"].send(channel.IN_MEMORY)
        file = memory_file(b"no message")
        keeper.calls.peers["supervisor"].send(channel.IN_MEMORY, (file,), owned=True)
        keeper.turn()
        run = start(keeper, "more", "sleep", "100")

        assert keeper.lines().count("supervisor.bad_message") == 6
        assert run == 1


# -- is it live? -----------------------------------------------------------------------------------


def answered(keeper: WholeKeeper) -> None:
    """Wait for the first round trip."""
    keeper.until(lambda: keeper.keeper._supervisor.is_settled, "it has answered")
    assert keeper.pings == 1


def pass_time(keeper: WholeKeeper, span_s: float, step_s: float = 1.0) -> None:
    """Let time pass for the keeper, in steps short enough to be no gap."""
    for _ in range(int(span_s / step_s)):
        keeper.late_s += step_s
        keeper.turn()


def test_a_supervisor_that_does_not_answer_is_replaced() -> None:
    """Asleep in a call it never wakes from, or stopped: after ten seconds there is another."""
    with a_keeper() as keeper:
        answered(keeper)
        keeper.answers = False
        before = keeper.supervisor_pid
        os.kill(before, signal.SIGSTOP)
        stat = Path(f"/proc/{before}/stat")
        wait_until(lambda: ") T " in stat.read_text(), what="it is stopped")
        keeper.keeper._client_came(0)
        pass_time(keeper, HANG_S - 2)
        assert keeper.supervisor_pid == before

        pass_time(keeper, 4)
        keeper.until(lambda: keeper.supervisor_pid not in (0, before), "there is another")

        assert not leftovers.is_alive(before)
        assert "supervisor.hung" in keeper.lines()


def test_an_answer_that_came_while_we_were_stopped_is_heard_first() -> None:
    """The keeper was away for a minute: the supervisor only looks late."""
    with a_keeper() as keeper:
        answered(keeper)
        before = keeper.supervisor_pid
        keeper.keeper._client_came(0)
        keeper._be_supervisor()
        assert keeper.pings == 2

        keeper.late_s += 60
        keeper.turn()

        assert keeper.supervisor_pid == before
        assert "supervisor.hung" not in keeper.lines()


def test_an_answer_that_waits_in_the_socket_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind more than is received at once, though all of that is obeyed already."""
    monkeypatch.setattr(supervisor_side, "_MOST_AHEAD_BYTES", 1000)
    with a_keeper() as keeper:
        answered(keeper)
        before = keeper.supervisor_pid
        keeper.keeper._client_came(0)
        for number in range(60):
            keeper.say(save={f"worker/{number}/1": "x" * 100})
        keeper._be_supervisor()
        assert keeper.pings == 2
        keeper.late_s += 60
        keeper.turn()
        assert "supervisor.hung" not in keeper.lines()
        pulse = keeper.keeper._supervisor.pulse
        keeper.until(lambda: pulse.deadline_s is None, "it is heard")
        assert keeper.supervisor_pid == before


def test_the_loop_forgives_after_a_gap() -> None:
    """Stopped in the middle of its wait, the keeper gives everybody the whole time again."""
    with a_keeper() as keeper:
        pulse = Pulse(keeper.calls)
        assert pulse.ask(os.getpid(), 100.0) == {"ping": 1}
        pulse.forgive(160.0)

        assert pulse.deadline_s == 160.0 + HANG_S


def test_systemd_hears_of_a_live_loop_only() -> None:
    """WATCHDOG=1 follows an answer; without one there is silence, and a new supervisor in time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        systemd.setblocking(False)
        name = systemd.getsockname()
        environment = {"NOTIFY_SOCKET": "@" + name[1:].decode(), "WATCHDOG_USEC": "9000000"}
        with a_keeper(environment=environment) as keeper:
            answered(keeper)
            keeper.turn()
            assert systemd.recv(100) == b"WATCHDOG=1"
            keeper.answers = False
            before = keeper.supervisor_pid

            pass_time(keeper, 5, 0.5)
            with pytest.raises(BlockingIOError):
                systemd.recv(100)
            keeper.answers = True
            pass_time(keeper, 2, 0.5)
            keeper.until(lambda: keeper.supervisor_pid not in (0, before), "there is another")
            keeper.turn()

            assert keeper.late_s < 9
            assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_channel_that_ended_is_no_reason_to_spin() -> None:
    """Between the end of a supervisor's channel and its death the keeper sleeps."""
    with a_keeper() as keeper:
        answered(keeper)
        keeper.turn()
        keeper.calls.drop("supervisor")  # the process lives on

        keeper.turn()
        keeper.turn()

        channel = keeper.keeper._supervisor.channel
        assert channel is not None
        assert channel.ended
        assert channel.fileno() not in keeper.keeper._poller.wait(0)


def test_ten_early_deaths_stop_the_daemon_with_70() -> None:
    """A supervisor that never answers is tried ten times; then the workers are stopped."""
    with a_keeper() as keeper:
        start(keeper, "web", "sleep", "100")
        keeper.answers = False
        before = len(keeper.calls.handovers)
        while keeper.keeper._ending is None:
            keeper.kill_supervisor()
            keeper.until(lambda: not keeper.supervisor_pid, "it is dead")
            keeper.late_s += children.LAST_WAIT_S
            keeper.turn()

        assert len(keeper.calls.handovers) - before == children.MOST_EARLY_DEATHS
        keeper.until(lambda: keeper.keeper._runs.are_gone, "the workers are stopped")

        assert keeper.keeper._ending == 70
        assert "supervisor.given_up" in keeper.lines()


def test_a_machine_without_processes_to_spare_is_no_death_of_ours() -> None:
    """When no supervisor can be started, that is tried again and again, and never counted."""
    with a_keeper() as keeper:
        answered(keeper)
        for _ in range(12):
            keeper.kill_supervisor() if keeper.supervisor_pid else None
            keeper.until(lambda: not keeper.supervisor_pid, "it is dead")
            keeper.calls.fail = ("posix_spawn", keeper.calls.counts["posix_spawn"] + 1, 11)
            keeper.late_s += 2 * children.LAST_WAIT_S
            keeper.turn()
        keeper.calls.fail = None
        keeper.late_s += 2 * children.LAST_WAIT_S
        keeper.until(lambda: keeper.pings > 1, "it has answered")

        assert keeper.keeper._ending is None
        assert keeper.lines().count("supervisor.not_started") == 12


def kill_scribes(keeper: WholeKeeper, count: int, number: int) -> None:
    """Let *count* scribes in a row die by signal *number* before they answer."""
    for _ in range(count):
        keeper.until(lambda: keeper.keeper._scribe.pid, "a scribe lives")
        os.kill(keeper.keeper._scribe.pid, number)
        keeper.calls.drop("scribe")
        keeper.until(lambda: not keeper.keeper._scribe.pid, "it is dead")
        keeper.late_s += children.LAST_WAIT_S
    keeper.until(lambda: keeper.keeper._scribe.pid, "a scribe lives")


def test_a_scribe_that_others_kill_keeps_its_memory() -> None:
    """However often: what it had read from the pipes is in there, and nowhere else."""
    with a_keeper() as keeper:
        keeper.scribe_answers = False

        kill_scribes(keeper, 2 * children.MOST_EARLY_DEATHS, signal.SIGKILL)

        assert "scribe.memory_discarded" not in keeper.lines()


def test_a_scribe_that_dies_of_its_memory_gets_another() -> None:
    """One chunk may be lost then, but not all logs for ever."""
    with a_keeper() as keeper:
        keeper.scribe_answers = False

        kill_scribes(keeper, children.MOST_EARLY_DEATHS, signal.SIGSEGV)

        assert keeper.lines().count("scribe.memory_discarded") == 1
