"""The command as people type it, against a control socket with made-up answers."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import supervisord_lite
from supervisord_lite.control.calls import Call
from tests.support.control import (
    MANAGER,
    FakeDaemon,
    a_worker,
    an_outcome,
    listen,
    with_outcomes,
)
from tests.support.typed import COMMAND, environment, on_a_terminal, sdl, start
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def test_doctor_judges_the_file_of_the_daemon_that_answers(tmp_path: Path) -> None:
    """And another one where somebody names it."""
    files = {name: tmp_path / f"{name}.toml" for name in ("in-force", "other")}
    for name, file in files.items():
        file.write_text(f'[worker.{name}]\nrestart = "{name}"\n')
    with FakeDaemon() as daemon:
        daemon.supervisor["config"] = str(files["in-force"])
        for words, name in (((), "in-force"), (("-c", str(files["other"])), "other")):
            done = sdl(daemon, "doctor", "--json", *words)
            assert done.returncode == 1
            texts = [each["text"] for each in json.loads(done.stdout)["findings"]]
            assert any(text.startswith(f"{files[name]} is not good") for text in texts)


def test_doctor_asks_the_daemon_whose_socket_the_file_names(tmp_path: Path) -> None:
    """Unless another one is named: a file that is named is about one daemon."""
    file = tmp_path / "shop.toml"
    with FakeDaemon() as daemon:
        file.write_text(f'[control]\npath = "{daemon.path}"\n[worker.a]\ncommand = "/bin/true"\n')
        words = [*COMMAND, "doctor", "--json", "-c", str(file)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=30, check=False, env=environment()
        )
        assert "no daemon answers" not in done.stdout
        assert ("Status", {"names": []}) in daemon.asked


def a_pool(name: str, size: int) -> list[dict[str, Any]]:
    """Return the instances of a pool."""
    return [a_worker(f"{name}-{i}") for i in range(1, size + 1)]


def test_status_prints_a_table_and_json() -> None:
    """For people a table, for programs one object."""
    with FakeDaemon([a_worker("beat"), *a_pool("web", 2)]) as daemon:
        text = sdl(daemon, "status")
        assert text.returncode == 0
        assert text.stderr == ""
        assert text.stdout.splitlines()[0].split()[:3] == ["NAME", "STATE", "READY"]
        assert [line.split()[0] for line in text.stdout.splitlines()[1:3]] == ["beat", "web"]

        status = json.loads(sdl(daemon, "status", "web", "--json").stdout)
        assert [worker["name"] for worker in status["workers"]] == ["web-1", "web-2"]
        assert status["workers"][0]["uptime_s"] == 4000.0
        assert sdl(daemon, "status", "beat").stdout.startswith("beat       running, ready")


def test_the_socket_may_be_named_after_the_verb() -> None:
    """`status --json --socket X` works as `--socket X status --json` does."""
    with FakeDaemon([a_worker("a")]) as daemon:
        for words in (
            ["status", "--json", "--socket", daemon.path],
            ["--socket", daemon.path, "status", "--json"],
            [f"--socket={daemon.path}", "status", "a", "--json", "a"],
        ):
            assert json.loads(sdl("/nowhere", *words).stdout)["workers"][0]["name"] == "a"


def test_check_is_for_monitoring() -> None:
    """Nothing and 0 when all is well, else what is wrong and 1."""
    with FakeDaemon([a_worker("a"), a_worker("b")]) as daemon:
        well = sdl(daemon, "status", "--check")
        assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
        daemon.workers[1] |= {"state": "tripped", "ready": False, "note": "5 failures in 10m"}
        ill = sdl(daemon, "status", "--check")
        assert (ill.returncode, ill.stdout) == (1, "b tripped  5 failures in 10m\n")
        assert sdl(daemon, "status", "--check", "a").returncode == 0
        found = json.loads(sdl(daemon, "status", "--check", "--json").stdout)
        assert [worker["name"] for worker in found["workers"]] == ["b"]


def test_an_unknown_name_is_exit_4_with_the_nearest_one() -> None:
    """A slip of the finger is answered with the name that was meant."""
    with FakeDaemon([a_worker("web")]) as daemon:
        for verb in ("status", "restart", "start"):
            wrong = sdl(daemon, verb, "wbe")
            assert wrong.returncode == 4
            assert wrong.stdout == ""
            assert wrong.stderr == (
                f"supervisord-lite: {verb} wbe: no such worker; did you mean web?\n"
            )
        assert not any(method == "Restart" for method, _ in daemon.asked)


def test_no_daemon_is_exit_3_and_says_which_kind() -> None:
    """A missing socket and one that was left behind need different cures."""
    left_behind = listen()
    path = left_behind.getsockname()
    left_behind.close()
    for verb in ("status", "shutdown", "logs"):
        gone = sdl("/nowhere/control.sock", verb)
        assert gone.returncode == 3
        assert gone.stderr.startswith(
            "supervisord-lite: no daemon answers at /nowhere/control.sock\n  there is no socket"
        )
        dead = sdl(path, verb)
        assert dead.returncode == 3
        assert "the socket exists, but nobody listens" in dead.stderr


def test_start_prints_a_line_per_pool_as_it_completes() -> None:
    """What is ready is said at once; what was started because it was required is said too."""
    with FakeDaemon([*a_pool("celery", 8), a_worker("migrate")]) as daemon:
        daemon.answers["Start"] = with_outcomes(
            *(an_outcome(f"celery-{i}", "ready", elapsed_s=i * 0.2) for i in range(1, 9)),
            an_outcome("redis", "ready"),
            an_outcome("migrate", "exited", detail="exit 0", elapsed_s=3.1),
        )
        done = sdl(daemon, "start", "celery", "migrate")
        assert done.stdout.splitlines() == [
            "celery    8 of 8 ready, 1.6s",
            "migrate   exit 0 after 3.1s",
            "redis     ready, 0.2s",
        ]
        assert (done.returncode, done.stderr) == (0, "")
        assert daemon.asked[-1] == ("Start", {"names": ["celery", "migrate"], "wait": True})


def test_a_failure_is_told_on_stderr_and_is_exit_1() -> None:
    """The reason stands beside the name; what went well is still told."""
    with FakeDaemon(a_pool("web", 2)) as daemon:
        daemon.answers["Restart"] = with_outcomes(
            an_outcome("web-1", "failed", detail="exit 1 after 0.3s, failure 1 of 5"),
            an_outcome("web-2", "ready", elapsed_s=2.9),
        )
        done = sdl(daemon, "restart", "web")
        assert done.returncode == 1
        assert done.stderr == "web-1     failed: exit 1 after 0.3s, failure 1 of 5\n"
        assert done.stdout == "web       1 of 2 ready, 2.9s\n"

        done = sdl(daemon, "restart", "web", "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert not told["ok"]
        assert [o["outcome"] for o in told["workers"]] == ["failed", "ready"]


def test_a_missing_program_is_told_with_the_way_to_try_at_once() -> None:
    """The next attempt may be minutes away: whoever has mended it need not wait."""
    detail = "spawn failed (exec): no such file: /x/web, failure 1 of 5, again in 5m"
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["Start"] = with_outcomes(an_outcome("web", "failed", detail=detail))
        told = " ".join(sdl(daemon, "start", "web").stderr.split())
        assert told == f"web failed: {detail}; at once: supervisord-lite start web"


def test_stop_says_how_long_stopped_lasts() -> None:
    """A stop by hand survives reload and crash, and ends with the service."""
    with FakeDaemon([a_worker("web"), *a_pool("celery", 8)]) as daemon:
        daemon.answers["Stop"] = with_outcomes(
            an_outcome("web", "stopped"),
            *(an_outcome(f"celery-{i}", "stopped") for i in range(1, 9)),
        )
        assert sdl(daemon, "stop", "web", "celery").stdout.splitlines() == [
            "web       stopped, 0.2s (until started again, or the service restarts)",
            "celery    8 of 8 stopped, 0.2s (until started again, or the service restarts)",
        ]
        daemon.answers["Stop"] = with_outcomes(an_outcome("web", "unchanged"))
        assert sdl(daemon, "stop", "web").stdout.startswith("web       stopped already (until")


def test_an_order_without_waiting_says_where_to_look() -> None:
    """--no-wait returns when the daemon has taken the order."""
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["Start"] = lambda call: call.reply({"done": True})
        done = sdl(daemon, "start", "web", "--no-wait")
        assert done.returncode == 0
        assert done.stdout == "ordered: start web; see: supervisord-lite status web\n"
        assert daemon.asked == [("Start", {"names": ["web"], "wait": False})]


def test_a_timeout_is_exit_6_and_names_who_is_missing() -> None:
    """Giving up ends the wait, not the order."""
    with FakeDaemon(a_pool("web", 2)) as daemon:
        daemon.answers["Start"] = lambda call: call.reply(
            {"outcome": an_outcome("web-1", "ready"), "done": False}, continues=True
        )
        done = sdl(daemon, "start", "web", "--timeout", "100ms")
        assert done.returncode == 6
        assert done.stderr == (
            "supervisord-lite: start web: gave up after 0.1s; still waiting for web-2\n"
            "  still going on in the daemon: supervisord-lite wait web\n"
        )


def test_ctrl_c_ends_the_wait_and_not_the_order() -> None:
    """The daemon goes on; the command says so and how to look."""
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["Restart"] = lambda _call: None
        process = start(daemon, "restart", "web")
        wait_until(lambda: len(daemon.asked) == 2, what="the order has arrived")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 6
        assert out == ""
        assert err == "\nstill going on in the daemon: supervisord-lite wait web\n"


def test_a_replaced_supervisor_does_not_disturb_a_start() -> None:
    """While somebody waits for a start, the supervisor may crash: nothing is told twice."""
    with FakeDaemon(a_pool("web", 2)) as daemon:
        again = with_outcomes(an_outcome("web-1", "unchanged"), an_outcome("web-2", "ready"))

        def first(call: Call) -> None:
            call.reply({"outcome": an_outcome("web-1", "ready"), "done": False}, continues=True)
            daemon.answers["Start"] = again
            daemon.replace_supervisor()

        daemon.answers["Start"] = first
        done = sdl(daemon, "start", "web")
        assert (done.returncode, done.stdout) == (0, "web       2 of 2 ready, 0.2s\n")


def test_a_wait_orders_nothing_and_is_asked_again_when_the_supervisor_is_replaced() -> None:
    """One line per pool, as after an order; the second question knows of the first one's time."""
    with FakeDaemon(a_pool("web", 2)) as daemon:
        ended = an_outcome("job", "exited", detail="exit 0 after 14.2s")

        def first(call: Call) -> None:
            call.reply({"outcome": an_outcome("web-1", "ready"), "done": False}, continues=True)
            again = [an_outcome("web-1", "ready"), an_outcome("web-2", "ready"), ended]
            daemon.answers["Wait"] = with_outcomes(*again)
            daemon.replace_supervisor()

        daemon.answers["Wait"] = first
        done = sdl(daemon, "wait")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "web       2 of 2 ready, 0.2s\njob       exit 0 after 14.2s\n"
        asked = {"names": [], "goal": "ready", "since_s": daemon.now_s}
        assert [each for each in daemon.asked if each[0] != "Status"] == [("Wait", asked)] * 2


def test_a_wait_has_the_exit_codes_of_every_verb() -> None:
    """1 for who will not get there, 6 when the time is over; programs get one object."""
    with FakeDaemon(a_pool("web", 2)) as daemon:
        no = an_outcome("web-2", "failed", detail="is stopped")
        daemon.answers["Wait"] = with_outcomes(an_outcome("web-1", "ready"), no)
        failed = sdl(daemon, "wait", "web", "--json")
        assert (failed.returncode, failed.stderr) == (1, "web-2     failed: is stopped\n")
        told = json.loads(failed.stdout)
        assert (told["ok"], len(told["workers"])) == (False, 2)

        daemon.answers["Wait"] = lambda _call: None
        late = sdl(daemon, "wait", "web", "--for", "stopped", "--timeout", "100ms")
        assert late.returncode == 6
        assert late.stderr == (
            "supervisord-lite: wait web: gave up after 0.1s; still waiting for web-1 web-2\n"
            "  supervisord-lite status web\n"
        )
        assert daemon.asked[-1][1]["goal"] == "stopped"
        assert sdl(daemon, "wait", "wbe").returncode == 4
        assert sdl(daemon, "wait", "--for", "done").returncode == 2


def test_a_refusal_names_reason_and_way_out() -> None:
    """Refused means nothing was changed; the next command stands below."""
    with FakeDaemon([a_worker("mailer")]) as daemon:
        daemon.answers["Start"] = lambda call: call.error(
            f"{MANAGER}.Refused",
            {"name": "mailer", "reason": "its breaker is open", "hint": "supervisord-lite reset"},
        )
        done = sdl(daemon, "start", "mailer")
        assert done.returncode == 1
        assert done.stderr == (
            "supervisord-lite: start mailer: its breaker is open\n  supervisord-lite reset\n"
        )


def test_not_permitted_is_exit_5() -> None:
    """The user is named as the daemon saw them."""
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["Signal"] = lambda call: call.error(
            f"{MANAGER}.NotPermitted", {"method": "Signal", "uid": 0}
        )
        done = sdl(daemon, "signal", "HUP", "web")
        assert done.returncode == 5
        assert done.stderr == "supervisord-lite: signal web: not permitted for root (uid 0)\n"


@pytest.mark.parametrize(("sent", "status"), [(2, 0), (1, 0), (0, 1)])
def test_signal_says_to_how_many(sent: int, status: int) -> None:
    """Nothing sent is no success."""
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["Signal"] = lambda call: call.reply({"sent": sent})
        done = sdl(daemon, "signal", "hup", "web")
        assert done.returncode == status
        assert daemon.asked == [("Signal", {"names": ["web"], "signal": "SIGHUP"})]
        assert ("sent to" in done.stdout) == bool(sent)
        told = json.loads(sdl(daemon, "signal", "1", "web", "--json").stdout)
        assert told == {"sent": sent}


def test_shutdown_waits_until_the_daemon_is_gone() -> None:
    """When the command returns, the socket is dead."""
    daemon = FakeDaemon([a_worker("web")])
    with daemon:
        daemon.answers["Shutdown"] = lambda call: call.reply({})
        quick = sdl(daemon, "shutdown", "--no-wait")
        assert (quick.returncode, quick.stdout) == (
            0,
            "ordered: shutdown; see: supervisord-lite status\n",
        )
        late = sdl(daemon, "shutdown", "--timeout", "50ms")
        assert late.returncode == 6
        assert "gave up after 50ms" in late.stderr

        process = start(daemon, "shutdown")
        wait_until(lambda: len(daemon.asked) == 3, what="the order has arrived")
        assert process.poll() is None
        daemon.end()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("the daemon has ended, ")


def test_version_works_with_and_without_a_daemon() -> None:
    """The first command that people type never fails for want of a daemon."""
    with FakeDaemon() as daemon:
        told = json.loads(sdl(daemon, "version", "--json").stdout)
        assert told == {"version": supervisord_lite.__version__, "daemon": "9.8.7"}
        text = sdl(daemon, "--version").stdout
        assert text.splitlines()[1].split() == ["daemon", "9.8.7"]
    alone = sdl("/nowhere", "version")
    assert alone.returncode == 0
    assert alone.stdout == f"supervisord-lite {supervisord_lite.__version__}\n"


def test_output_that_cannot_be_written_is_a_failure() -> None:
    """A full disk below a redirection is not passed over."""
    with FakeDaemon([a_worker("web")]) as daemon, open("/dev/full", "wb") as full:
        process = subprocess.run(
            [*COMMAND, "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
            env=environment(SUPERVISORD_LITE_SOCKET=daemon.path),
        )
        assert process.returncode == 1
        assert process.stderr == (
            "supervisord-lite: cannot write the output: No space left on device\n"
        )


def test_a_line_has_80_columns_and_the_rest_stands_elsewhere() -> None:
    """Of a long note the table has the beginning; `status NAME` and JSON have all of it."""
    note = "requires db, which requires disk, which is stopped: " + "x" * 100
    with FakeDaemon([a_worker("web", note=note)]) as daemon:
        piped = sdl(daemon, "status", "-a").stdout.splitlines()
        assert max(map(len, piped)) == 80
        assert "x" * 100 in sdl(daemon, "status", "web").stdout
        assert json.loads(sdl(daemon, "status", "--json").stdout)["workers"][0]["note"] == note
        shown = re.sub(
            r"\x1b\[\d+m", "", on_a_terminal(daemon, ["status", "-a"]).decode()
        ).splitlines()
        assert max(map(len, shown)) == 80
        assert shown[1].endswith("requires db, which require...")


def test_a_terminal_without_unicode_gets_codes(tmp_path: Path) -> None:
    """A note with a letter that the terminal lacks does not end the command."""
    with FakeDaemon([a_worker("web", note="é")]) as daemon:
        done = sdl(daemon, "status", "-a", PYTHONIOENCODING="ascii")
        assert done.returncode == 0
        assert "\\xe9" in done.stdout


def test_a_daemon_of_another_version_is_shown_as_far_as_it_goes() -> None:
    """Missing keys are null or a dash, never a traceback."""
    with FakeDaemon([{"name": "web", "pool": "web", "instance": 1, "state": "running"}]) as daemon:
        daemon.supervisor = {}
        for words in (["status"], ["status", "-a"], ["status", "web"], ["status", "--check"]):
            done = sdl(daemon, *words)
            assert (done.returncode, done.stderr) == (0, ""), words
