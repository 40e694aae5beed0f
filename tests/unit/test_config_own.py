"""What [defaults] says is for those who can do something with it; a worker's own words must fit."""

from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import judge, load
from supervisord_lite.config.show import show
from supervisord_lite.config.spec import Spec

COMMAND = "command = ['x']\n"

#: Keys that mean nothing to a plain command.
OF_SOME = (
    'schedule.timezone = "UTC"',
    'schedule.overlap = "wait"',
    'schedule.missed = "once"',
    "recycle.jitter = true",
    'recycle.jitter = "10s"',
    'preload = ["json"]',
    "config.batch = 50",
    'interpreter = "python3"',
    'health.interval = "20s"',
)


def the_spec(tmp_path: Path, text: str) -> Spec:
    path = tmp_path / "x.toml"
    path.write_text(text)
    (spec,) = load(str(path), environ={}, as_root=True).specs
    return spec


@pytest.mark.parametrize("line", OF_SOME)
def test_what_is_said_for_all_changes_nobody_whom_it_does_not_fit(
    tmp_path: Path, line: str
) -> None:
    """A fleet of jobs and servers has one time zone for its jobs."""
    plain = the_spec(tmp_path, f"[worker.a]\n{COMMAND}")
    told = the_spec(tmp_path, f"[defaults]\n{line}\n[worker.a]\n{COMMAND}")
    assert (told.policy, told.recycle, told.health) == (plain.policy, plain.recycle, plain.health)
    assert (told.launch.python, told.launch.argv) == (None, ("x",))


@pytest.mark.parametrize("line", [line for line in OF_SOME if "interpreter" not in line])
@pytest.mark.parametrize("is_extended", [False, True])
def test_what_a_worker_says_itself_must_fit(tmp_path: Path, line: str, is_extended: bool) -> None:
    """Or a base of its own: somebody has meant just this one."""
    text = f"[worker.a]\n{COMMAND}{line}\n"
    if is_extended:
        text = f"[worker.b]\nenabled = false\n{line}\n[worker.a]\nextends = 'b'\n{COMMAND}"
    with pytest.raises(ConfigurationError) as caught:
        the_spec(tmp_path, text)
    assert len(caught.value.problems) == 1


def test_what_is_said_for_all_holds_for_those_whom_it_fits(tmp_path: Path) -> None:
    """Key by key, as tables merge."""
    head = (
        '[defaults]\nschedule.timezone = "UTC"\nschedule.missed = "once"\n'
        'recycle.jitter = true\npreload = ["json"]\nconfig.batch = 50\n'
    )
    schedule = the_spec(
        tmp_path, f'{head}[worker.a]\n{COMMAND}schedule = "@daily"\n'
    ).policy.schedule
    assert schedule is not None
    assert (schedule.zone.name, schedule.missed, schedule.overlap) == ("UTC", "once", "skip")
    text = f'{head}[worker.a]\npython = "m:T"\nrecycle.runs = 10\n'
    spec = the_spec(tmp_path, text)
    assert spec.recycle.jitter is True
    assert spec.launch.python is not None
    assert (spec.launch.python.preload, spec.launch.python.config) == (("json",), '{"batch": 50}')


def test_a_wrong_value_for_all_is_told_though_nobody_uses_it(tmp_path: Path) -> None:
    """A mistake is one for whoever comes next."""
    text = f'[defaults]\nschedule.timezone = "Mars"\nrecycle.jitter = "x"\n[worker.a]\n{COMMAND}'
    with pytest.raises(ConfigurationError) as caught:
        the_spec(tmp_path, text)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_a_socket_that_is_one_text_is_shown_once(tmp_path: Path) -> None:
    """Its address is no default of another key."""
    path = tmp_path / "x.toml"
    path.write_text(f'[worker.a]\n{COMMAND}sockets.http = ":8000"\nsockets.probe = "private"\n')
    lines = show("a", judge(str(path), environ={}, as_root=True))
    assert [line.key for line in lines if line.key.startswith("sockets.")] == [
        "sockets.http", "sockets.probe", "sockets.http.backlog", "sockets.http.fd",
        "sockets.probe.backlog", "sockets.probe.fd",
    ]  # fmt: skip
