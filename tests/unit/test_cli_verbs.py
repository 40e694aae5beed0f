"""Words typed: verbs, options before and after them, and what other tools call things."""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_lite.cli import main, place, verbs
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.signal import signal_name


def namespace(**given: object) -> argparse.Namespace:
    """Return parsed options."""
    return argparse.Namespace(**{"socket": None, "instance": None} | given)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["update"], 'no verb "update"; supervisorctl\'s update is: reload'),
        (["reread"], "supervisorctl's reread is: reload --dry-run"),
        (["tail"], "supervisorctl's tail is: logs"),
        (["add"], "supervisorctl's add is: write the worker into"),
        (["daemon-reload"], "systemctl's daemon-reload is: reload"),
        (["kill"], "systemctl's kill is: signal SIG NAME"),
        (["statsu"], "did you mean status?"),
        (["top", "web"], '"top" is not in this version'),
        (["frobnicate"], 'no verb "frobnicate"\n'),
        (["restart"], "restart: which workers?"),
        (["signal", "HUP"], "signal: to which workers?"),
        (["signal", "HUPP", "web"], '"HUPP" is no signal'),
        (["status", "--frob"], "status: unrecognized arguments: --frob"),
        (["status", "--socket"], "expected one argument"),
        (["status", "--socket", "x", "-i", "y"], "not allowed with"),
        (["start", "web", "--timeout", "ten"], "expected a duration"),
        (["logs", "-n", "-1"], '"-1" is no number of lines'),
        (["logs", "-n", "many"], "is no number of lines"),
        (["-i", "../x", "status"], '"../x" is no name of an instance'),
        (["\x1b[31m"], '"\\x1b[31m"'),
        ([], "usage: supervisord-lite VERB"),
        (["--frob"], "usage: supervisord-lite VERB"),
    ],
)
def test_a_wrong_word_is_a_usage_error_with_the_way_out(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and the message knows what supervisorctl and systemctl call it."""
    assert main(words) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert answer in captured.err
    assert "Traceback" not in captured.err


def test_every_verb_has_its_file_and_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is the manual: each verb that is offered can be asked for help."""
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(len(line) <= 80 for line in overview.splitlines())

    for verb in verbs.HELP:
        assert f"  {verb} " in overview
        assert importlib.util.find_spec(verbs.module_of(verb)) is not None, verb


def test_one_verb_does_not_import_another() -> None:
    """The command starts fast, because only the verb that is typed is imported."""
    assert main(["signal"]) == 2
    for verb in verbs.HELP:
        sys.modules.pop(verbs.module_of(verb), None)
    assert main(["stop"]) == 2
    loaded = {verb for verb in verbs.HELP if verbs.module_of(verb) in sys.modules}
    assert loaded == {"stop"}


#: What `status` may load beside builtins and our own; each other one makes every command slower.
STATUS_NEEDS = {
    "argparse", "array", "calendar", "codecs", "collections", "contextlib", "copyreg", "datetime",
    "encodings", "enum", "errno", "functools", "genericpath", "gettext", "grp", "heapq",
    "importlib", "io", "itertools", "json", "keyword", "locale", "math", "operator", "os",
    "platform", "posixpath", "pwd", "re", "reprlib", "select", "selectors", "shlex", "signal",
    "site", "socket", "stat", "string", "struct", "sys", "textwrap", "time", "types", "typing",
    "unicodedata", "warnings", "abc", "builtins", "marshal", "posix", "zipimport", "atexit",
    "threading", "weakref", "runpy", "pkgutil", "collections_abc", "sre", "sha2", "sha256",
    "future__",
}  # fmt: skip


def test_status_loads_no_module_that_it_can_do_without(tmp_path: Path) -> None:
    """Whoever watches types it again and again: hashlib is 10 ms, pathlib 3, shutil 2."""
    script = (
        "import sys; before = set(sys.modules); from supervisord_lite.cli import main\n"
        "main(['status', '--socket', sys.argv[1]])\n"
        "from supervisord_lite.cli import disk; disk.changed_files({sys.executable: ''})\n"
        "new = {name.partition('.')[0].lstrip('_') for name in set(sys.modules) - before}\n"
        "print(*sorted(new))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, str(tmp_path / "none")],
        capture_output=True, text=True, check=True, timeout=60,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    loaded = set(done.stdout.split()) - {"supervisord_lite", "main"}
    assert loaded <= STATUS_NEEDS, sorted(loaded - STATUS_NEEDS)


def test_the_daemon_may_be_named_before_and_after_the_verb() -> None:
    """People put options where they come to mind."""
    assert verbs.split(["--socket", "x", "status", "-a"]) == (["--socket", "x"], "status", ["-a"])
    assert verbs.split(["--socket=x", "-iy", "status"]) == (["--socket=x", "-iy"], "status", [])
    assert verbs.split(["-i", "shop", "stop", "web"]) == (["-i", "shop"], "stop", ["web"])
    assert verbs.split(["-i"]) == (["-i"], None, [])


def test_the_socket_is_named_by_option_then_environment_then_place() -> None:
    """The nearest word wins; root's place is the system's, a user's is the user's."""
    environ = {"XDG_RUNTIME_DIR": "/run/user/5", "SUPERVISORD_LITE_SOCKET": "/from/environment"}
    tail = "supervisord-lite/control/control.sock"

    assert place.socket_path(namespace(socket="/a"), environ, uid=5) == "/a"
    instance = place.socket_path(namespace(instance="shop"), environ, uid=5)
    assert instance == "/run/supervisord-lite/shop/control/control.sock"
    assert place.socket_path(namespace(), environ, uid=5) == "/from/environment"
    del environ["SUPERVISORD_LITE_SOCKET"]
    assert place.socket_path(namespace(), environ, uid=5) == f"/run/user/5/{tail}"
    assert place.socket_path(namespace(), environ, uid=0) == f"/run/{tail}"
    fallback = place.socket_path(namespace(), {}, uid=5)
    assert fallback == "/tmp/supervisord-lite-5/control/control.sock"


@pytest.mark.parametrize("text", ["HUP", "SIGHUP", "hup", "sighup", "1", "-1"])
def test_a_signal_may_be_written_as_people_write_it(text: str) -> None:
    """With or without SIG, or as a number."""
    assert signal_name(text) == "SIGHUP"


@pytest.mark.parametrize("text", ["", "0", "99", "SIG", "SIGSIGHUP", "H UP"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    """Nothing is sent on a guess."""
    with pytest.raises(UsageError):
        signal_name(text)
