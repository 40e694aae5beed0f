"""How a worker is asked whether it works: what the file may say, and what it must not."""

from pathlib import Path

import pytest

from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import Judged, judge
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.show import show
from supervisord_lite.config.spec import Health, Spec, spec_from_json, to_json, to_short_json
from supervisord_lite.core.probing import Pace

HEAD = "[worker.web]\ncommand = 'x'\n"
LOCAL = ("127.0.0.1", "::1")


def judged(tmp_path: Path, text: str) -> Judged:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return judge(str(path), environ={}, as_root=True)


def spec_of(tmp_path: Path, lines: str) -> Spec:
    return judged(tmp_path, HEAD + lines).configuration.specs[0]


def problems(tmp_path: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        judged(tmp_path, text)
    return caught.value.problems


GOOD = {
    'health.http = "http://127.0.0.1:8000/healthz?x=1"': Health(
        "http", host="127.0.0.1", port="8000", path="/healthz?x=1", addresses=("127.0.0.1",)
    ),
    'health.http = "http://localhost"': Health("http", host="localhost", path="/", addresses=LOCAL),
    'health.http = "http://[::1]:%{8000..}/%i"': Health(
        "http", host="::1", port="%{8000..}", path="/%i", addresses=("::1",)
    ),
    'sockets.probe = "private"\nhealth.http = "probe:/healthz"': Health(
        "http", path="/healthz", socket="probe"
    ),
    'health.tcp = "[::1]:80%i"': Health("tcp", host="::1", port="80%i", addresses=("::1",)),
    'health.tcp = ":8000"': Health("tcp", port="8000", addresses=LOCAL),
    'health.exec = ["redis-cli", "ping"]': Health("exec", argv=("redis-cli", "ping")),
    'health.exec = "pg_isready -q"': Health("exec", argv=("pg_isready", "-q")),
    'health.tcp = ":1"\nhealth.interval = "5s"\nhealth.timeout = 1\nhealth.failures = 2': Health(
        "tcp", Pace(5.0, 1.0, 2), port="1", addresses=LOCAL
    ),
}


@pytest.mark.parametrize(("lines", "health"), GOOD.items(), ids=GOOD.keys())
def test_each_kind_arrives_and_nothing_of_it_is_lost(
    tmp_path: Path, lines: str, health: Health
) -> None:
    """Neither in what the keeper keeps, nor in the file that is written for people."""
    found = judged(tmp_path, HEAD + lines)
    (spec,) = found.configuration.specs
    assert spec.health == health
    assert spec.policy.ready_by == "health"
    assert spec_from_json(to_json(spec)) == spec
    assert spec_from_json(to_short_json(spec)) == spec
    written = render_effective(found.configuration)
    (again,) = judged(tmp_path, written).configuration.specs
    assert (again.health, again.policy) == (spec.health, spec.policy)
    assert {line.key for line in show("web", found)} >= {"ready", "health.interval"}


def test_where_health_is_set_it_makes_ready_unless_something_else_is_said(tmp_path: Path) -> None:
    """The probe is written once."""
    assert spec_of(tmp_path, "").policy.ready_by == "alive"
    for line, ready_by in (
        ('ready = "notify"', "said"),
        ('ready = "2s"', "alive"),
        ('ready = "health"', "health"),
        ('heartbeat_timeout = "5s"', "health"),
    ):
        assert spec_of(tmp_path, f'{line}\nhealth.tcp = ":1"\n').policy.ready_by == ready_by


def test_a_pace_in_defaults_is_no_probe(tmp_path: Path) -> None:
    """It is that of those who are asked."""
    text = f'[defaults]\nhealth.interval = "5s"\n{HEAD}[worker.b]\ncommand = "x"\nhealth.tcp=":1"'
    web, asked = judged(tmp_path, text).configuration.specs
    assert (web.health, web.policy.ready_by) == (None, "alive")
    assert asked.health is not None
    assert asked.health.pace.interval_s == 5.0


BAD = {
    'health.http = "https://x/"': ("speaks no TLS", '"curl", "-fsS", "-o", "/dev/null", "https'),
    'health.http = "http://u:p@x/"': ("expected", "a password is said by a program"),
    'health.http = "http://127.0.0.1:0/"': ("0 is not a port", ""),
    'health.http = "http://127.0.0.1:%{65535..}/"\npool_size = 2': ("65536 is not a port", ""),
    'health.http = "http://no.such.host.invalid/"': ("no.such.host.invalid", ""),
    'health.http = "http://127.0.0.1/é"': ("ASCII", "%XX"),
    'health.http = "http://127.0.0.1/#x"': ("behind #", ""),
    'health.http = "probe:/x"': ('no private socket "probe"', 'sockets.probe = "private"'),
    'sockets.probe = "private"\nhealth.http = "prob:/x"': ("no private", 'did you mean "probe:/'),
    'sockets.a = ":1"\nhealth.http = "a:/x"': ("is not private", 'sockets.probe = "private"'),
    'health.http = "http://127.0.0.1/"\nhealth.tcp = ":1"': ("asked in one way", "keep one"),
    'health.interval = "1s"': ("not said what to ask", "health.http"),
    'ready = "exit"\nhealth.tcp = ":1"': ("a job that ends", "run_timeout"),
    f'health.exec = ["{"x" * 9000}"]': ("longer than", "script"),
    'health.tcp = ":1"\nhealth.failures = 0': ("from 1 to 1000, got 0", ""),
    'health.timeout = 0\nhealth.tcp = ":1"': ("longer than 0", ""),
}


@pytest.mark.parametrize(("lines", "told"), BAD.items(), ids=BAD.keys())
def test_a_wrong_probe_is_told(tmp_path: Path, lines: str, told: tuple[str, str]) -> None:
    """With the way out."""
    (problem,) = problems(tmp_path, HEAD + lines)
    assert told[0] in problem.message
    assert told[1] in problem.hint


@pytest.mark.parametrize(
    ("socket", "probe"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("0.0.0.0:8000", "127.0.0.1:8000"),
        (":8000", "localhost:8000"),
        ("[::1]:8000", "[::1]:8000"),
        (":%{8000..}", ":%{8000..}"),
        (":%{7999..}", ":8000"),
    ],
)
def test_a_connection_to_a_held_socket_proves_nothing(
    tmp_path: Path, socket: str, probe: str
) -> None:
    """It succeeds with no worker alive; whoever's socket it is."""
    size = "pool_size = 2\n"
    (problem,) = problems(tmp_path, f'{HEAD}{size}sockets.a = "{socket}"\nhealth.tcp = "{probe}"\n')
    assert "holds this socket for web" in problem.message
    assert 'sockets.probe = "private" and health.http = "probe:/' in problem.hint
    other = f'[worker.b]\ncommand = "x"\n{size}sockets.a = "{socket}"\n'
    (problem,) = problems(tmp_path, f'{other}{HEAD}{size}health.tcp = "{probe}"\n')
    assert "holds this socket for b" in problem.message


WARNED = {
    'pool_size = 2\nsockets.a = ":8000"\nhealth.http = "http://127.0.0.1:8000/healthz"': (
        "health.http asks a socket that 2 instances share: another one may answer",
        'sockets.probe = "private" and health.http = "probe:/healthz"',
    ),
    'sockets.a = ":8000"\nhealth.http = "http://127.0.0.1:8000/healthz"': (
        "the old process and the new one share", 'health.http = "probe:/healthz"'),
    'sockets.a = ":%{8000..}"\npool_size = 2\nhealth.http = "http://127.0.0.1:%{8000..}/"': (
        "the old process and the new one share", 'health.http = "probe:/"'),
    'sockets.a = ":8000"\nmax_surge = 0\nmax_unavailable = 1\nhealth.http = "http://[::1]:8000"': (
        None),
    'pool_size = 2\nhealth.http = "http://127.0.0.1:8000/healthz"': (
        "all 2 instances ask the same port", "%{8000..} gives each its own"),
    'pool_size = 2\nhealth.tcp = "127.0.0.1:8000"': ("all 2 instances", "%{8000..}"),
    'pool_size = 2\nhealth.http = "http://127.0.0.1:%{8000..}/"': None,
    'pool_size = 2\nsockets.p = "private"\nhealth.http = "p:/"': None,
    'health.http = "http://127.0.0.1:8000/"': None,
    'sockets.a = "127.0.0.2:8000"\nhealth.tcp = "127.0.0.1:8000"': None,
}  # fmt: skip


@pytest.mark.parametrize(("lines", "told"), WARNED.items(), ids=WARNED.keys())
def test_a_probe_that_another_may_answer_is_a_warning(
    tmp_path: Path, lines: str, told: tuple[str, str] | None
) -> None:
    """With the remedy; and where each has its own there is none."""
    warnings = judged(tmp_path, HEAD + lines).warnings
    if told is None:
        assert not warnings
        return
    (warning,) = warnings
    assert told[0] in warning.message
    assert told[1] in warning.hint


def test_a_worker_that_asks_another_one_is_warned_of(tmp_path: Path) -> None:
    """It would be ended for the other's fault."""
    text = (
        f'[worker.b]\ncommand = "x"\nsockets.a = ":8000"\n{HEAD}health.http = "http://[::1]:8000"'
    )
    (warning,) = judged(tmp_path, text).warnings
    assert warning.message == "health.http asks the socket of b, not of web"


def test_other_probes_hold_at_once_and_other_sockets_need_a_new_process(tmp_path: Path) -> None:
    """A reload says which."""
    old = spec_of(tmp_path, 'ready = "1s"\nhealth.tcp = ":1"\n')
    new = spec_of(tmp_path, 'ready = "1s"\nhealth.exec = "true"\nhealth.timeout = "1s"\n')
    (change,) = make_plan([old], [new]).changed
    assert {(key.key, key.effect) for key in change.keys} == {
        ("health.tcp", "live"), ("health.exec", "live"), ("health.timeout", "live"),
    }  # fmt: skip
    private = spec_of(tmp_path, 'ready = "1s"\nsockets.p = "private"\nhealth.http = "p:/"\n')
    (change,) = make_plan([old], [private]).changed
    assert change.effect == "restart"
