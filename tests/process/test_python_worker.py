"""The child side of a Python worker: whatever ends in it, ends it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import CHECKOUT, clean_environment
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

MODULE = "tests.support.targets"


@contextmanager
def running(words: str, **config: object) -> Iterator[subprocess.Popen[str]]:
    """Run a target of tests/support/targets.py, as the daemon would."""
    about = {"config": config, "path": [str(CHECKOUT)]}
    environment = clean_environment({
        "SUPERVISORD_LITE_TARGET": json.dumps(about),
        "SUPERVISORD_LITE_NAME": "web-2",
        "SUPERVISORD_LITE_POOL": "web",
        "SUPERVISORD_LITE_INSTANCE": "2",
    })  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisord_lite.worker", f"{MODULE}:{words}"],
        env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def outcome(words: str, **config: object) -> tuple[int, str]:
    """Return exit code and stderr of a target that ends by itself."""
    with running(words, **config) as process:
        _, said = process.communicate(timeout=20)
        return process.returncode, said


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def stop(words: str, file: Path, **config: object) -> tuple[int, list[str]]:
    """Send SIGTERM once it has started; return exit code and what it noted."""
    with running(words, file=str(file), **config) as process:
        wait_until(lambda: any("started" in line for line in lines(file)), what="it has started")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        return process.returncode, lines(file)


def test_a_function_that_returns_is_done(tmp_path: Path) -> None:
    """Exit 0; it knows its name."""
    file = tmp_path / "notes"
    assert outcome("finish", file=str(file)) == (0, "")
    assert lines(file) == ["done web-2"]


def test_a_parameter_named_context_gets_it(tmp_path: Path) -> None:
    """Beside the configured keyword arguments."""
    file = tmp_path / "notes"
    assert outcome("takes_context", file=str(file), number=7) == (0, "")
    assert lines(file) == ["web-2 web 2 7"]


def test_one_that_is_ended_before_it_runs_says_where_it_hangs(tmp_path: Path) -> None:
    """And SIGTERM ends it nevertheless."""
    file = tmp_path / "notes"
    with running("Hangs", file=str(file)) as process:
        wait_until(lambda: lines(file) == ["started"], what="it has started")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGTERM
        assert "targets.py" in said
        assert "in __init__" in said


def test_a_misspelt_argument_is_told_and_not_the_one_that_was_meant() -> None:
    """It is missing only because of that."""
    assert (
        "got an unexpected keyword argument 'cod'; did you mean \"code\"?"
        in outcome("leave", cod=1)[1]
    )


def test_run_is_handed_a_context_that_it_asks_for(tmp_path: Path) -> None:
    """As a function is."""
    file = tmp_path / "notes"
    assert outcome("RunsWithContext", file=str(file)) == (0, "")
    assert lines(file) == ["run web-2"]


def test_raising_is_a_crash_with_a_traceback(tmp_path: Path) -> None:
    """Exit 1, and the reason where logs are."""
    code, said = outcome("crash", file=str(tmp_path / "notes"))
    assert code == 1
    assert said.startswith("Traceback")
    assert said.endswith("ValueError: no luck today\n")


def test_sys_exit_is_the_exit_code() -> None:
    """As in any program."""
    assert outcome("leave", code=7) == (7, "")


@pytest.mark.parametrize(
    ("words", "config", "reason"),
    [
        ("missing", {}, 'tests.support.targets has no "missing"'),
        ("Neither", {}, "Neither has neither run() nor start()"),
        ("generator", {"file": ""}, "generator is a generator (it has a yield)"),
        ("Begins", {}, "Begins.start() is async, and nobody would await it"),
        ("Waits", {}, "Waits.stop() is async, run() is not"),
        ("Empty", {}, "Empty has no run() of its own"),
        ("Asks", {}, 'Asks.run() is called without arguments, and needs "orders"'),
        ("wrapped", {}, "can be neither called nor run"),
        ("leave", {}, "leave(code: int) -> None: missing a required argument: 'code'"),
        ("leave", {"code": 1, "x": 2}, "got an unexpected keyword argument 'x'"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_line(
    words: str, config: dict[str, object], reason: str
) -> None:
    """No traceback of ours; the signature where arguments do not fit."""
    code, said = outcome(words, **config)
    assert code == 1
    assert reason in said
    assert said.count("\n") == 1


def test_a_crash_in_any_thread_ends_the_process(tmp_path: Path) -> None:
    """There is no dead worker inside a live process."""
    code, said = outcome("crashing_thread", file=str(tmp_path / "notes"))
    assert code == 1
    assert "Exception in thread digger" in said
    assert "ZeroDivisionError" in said


@pytest.mark.parametrize(
    ("words", "code", "reason", "holder"),
    [
        ("crash_beside_a_thread", 1, "ValueError: no luck today", 'the thread "holder"'),
        ("leave_beside_a_thread", 7, "", 'the thread "holder"'),
        ("crash_beside_an_executor", 1, "ValueError: no luck today", 'the thread "asyncio_0"'),
        ("crash_with_a_last_wish", 1, "ValueError: no luck today", "atexit"),
    ],
)
def test_nothing_that_holds_its_process_keeps_a_failed_target_alive(
    tmp_path: Path, words: str, code: int, reason: str, holder: str
) -> None:
    """It has ended: whoever watches the process must see that, and who has held it."""
    found, said = outcome(words, file=str(tmp_path / "notes"))
    assert found == code
    assert said.count(reason) == (1 if reason else len(said) + 1)
    assert holder in said
    assert "it is ended now" in said


def test_a_target_that_returns_leaves_its_threads_their_work(tmp_path: Path) -> None:
    """Returning is no failure."""
    file = tmp_path / "notes"
    assert outcome("outlived_by_a_thread", file=str(file)) == (0, "")
    assert lines(file) == ["worked"]


def test_a_thread_that_dies_where_nothing_can_be_said_ends_the_process(tmp_path: Path) -> None:
    """What cannot be told is no reason to live on."""
    file = tmp_path / "notes"
    assert outcome("crash_in_bad_words", file=str(file)) == (1, "")
    assert lines(file) == ["started"]


def test_a_class_with_run_is_made_and_run_on_the_main_thread(tmp_path: Path) -> None:
    """Its arguments are the configuration."""
    file = tmp_path / "notes"
    assert outcome("Runs", file=str(file), times=2) == (0, "")
    assert lines(file) == ["turn web-2"] * 2


@pytest.mark.parametrize(
    ("words", "code", "last"),
    [
        ("until_stopped", 0, "stopped web-2"),
        ("Sleeps", 0, "stopped"),
        ("AsyncRuns", 0, "stopped"),
        ("AsyncStops", 0, "stopped"),
        ("BlockingStart", 0, "start is over"),
        ("never_looks", 143, "cleaned up"),
        ("coroutine", 143, "cleaned up"),
    ],
)
def test_sigterm_ends_every_kind_of_target(
    words: str, code: int, last: str, tmp_path: Path
) -> None:
    """Who looks finishes by itself; who does not is interrupted and cleans up."""
    ended, noted = stop(words, tmp_path / "notes")
    assert (ended, noted[-1]) == (code, last)


@pytest.mark.parametrize("words", ["terminates_a_child", "terminates_a_child_in_a_loop"])
def test_a_child_that_is_terminated_does_not_stop_the_worker(tmp_path: Path, words: str) -> None:
    """The handler of SIGTERM, and what it writes to, are not for forked children."""
    file = tmp_path / "notes"
    code, said = outcome(words, file=str(file))
    assert (code, lines(file)) == (0, ["child -15", "stopping False"]), said


def test_a_thread_of_a_child_that_dies_is_the_childs_own_affair(tmp_path: Path) -> None:
    """As in any Python program; the child is watched by whoever has forked it."""
    file = tmp_path / "notes"
    code, said = outcome("outlives_a_thread_of_a_child", file=str(file))
    assert (code, lines(file)) == (0, ["child lives"]), said


def test_sigterm_in_the_middle_of_a_question_is_no_deadlock(tmp_path: Path) -> None:
    """Wherever the main thread is, also where it holds the lock of the event."""
    for number in range(12):
        ended, noted = stop("looks_all_the_time", tmp_path / f"notes{number}")
        assert (ended, noted) == (0, ["started", "stopped"])


def test_a_worker_has_no_thread_that_its_target_did_not_begin(tmp_path: Path) -> None:
    """Who forks must have none; the one that carries out a stop begins when there is one."""
    ended, noted = stop("tells_its_threads", tmp_path / "notes")
    assert (ended, noted) == (0, ["started with 1", "stopped"])


def test_a_stop_that_raises_is_a_crash(tmp_path: Path) -> None:
    """As in any other thread."""
    ended, noted = stop("RaisesInStop", tmp_path / "notes")
    assert (ended, noted) == (1, ["started"])


def test_a_stop_that_waits_for_threads_is_an_orderly_end(tmp_path: Path) -> None:
    """The thread that carries it out is known to `threading` by then, and is no work."""
    ended, noted = stop("StopsSlowly", tmp_path / "notes")
    assert (ended, noted[:3]) == (0, ["started", "stop", "stopped"])


def test_stops_that_are_asked_for_twice_come_one_after_the_other(tmp_path: Path) -> None:
    """Two signals are no reason to be in one `stop` twice."""
    file = tmp_path / "notes"
    with running("StopsSlowly", file=str(file)) as process:
        wait_until(lambda: "started" in lines(file), what="it has started")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stop" in lines(file), what="the first has begun")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    said = lines(file)[1:]
    assert said in (["stop", "stopped"], ["stop", "stopped"] * 2, ["stop", "stopped", "stop"])


def test_start_and_stop_of_the_contract(tmp_path: Path) -> None:
    """The process lives as long as what `start` began; `stop` is called once."""
    ended, noted = stop("Starts", tmp_path / "notes")
    assert (ended, noted) == (0, ["started", "stop", "loop over"])


def test_the_end_of_the_last_thread_of_start_is_the_end(tmp_path: Path) -> None:
    """Finished is exit 0, crashed is exit 1: never a process without work."""
    file = tmp_path / "notes"
    assert outcome("Starts", file=str(file), how="finishes") == (0, "")
    assert lines(file) == ["started", "loop over"]
    code, said = outcome("Starts", file=str(file), how="crashes")
    assert code == 1
    assert "the loop is dead" in said


def test_the_arguments_are_not_left_to_its_children() -> None:
    """What only this worker should know is not in the environment of what it starts."""
    script = (
        "import os; from supervisord_lite.worker.__main__ import main; main(['os:getcwd']);"
        "print(os.environ.get('SUPERVISORD_LITE_TARGET'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment({"SUPERVISORD_LITE_TARGET": "{}"}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "None\n"


def test_wrong_usage_is_told() -> None:
    """Without a target there is nothing to run."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisord_lite.worker"], env=clean_environment(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "package.module:Target" in done.stderr
