"""Keys of later versions: mistakes in them are told now, next to the one error that they are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config import later
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import load

Problems = Callable[[str], list[Problem]]


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problems:
    """Return a function that gives the problems of a text, loaded as workers.toml."""
    monkeypatch.chdir(tmp_path)

    def problems_of(text: str) -> list[Problem]:
        Path("workers.toml").write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            load("workers.toml", environ={}, as_root=True)
        return list(caught.value.problems)

    return problems_of


# Good lines, by the key that is refused: one error each, and no other.
GOOD = {
    "agent": ['agent = "claude"'],
    "container": ['container = { image = "redis:7", anything = 1 }'],
    "queue": ['queue = ["default"]', "queue = []"],
    "warm": ["warm = 3"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "lines"), [(key, lines) for key, found in GOOD.items() for lines in found]
)
@pytest.mark.parametrize("head", ["[worker.a]\ncommand = 'x'\n", "[defaults]\n"])
def test_a_good_value_is_only_refused(problems: Problems, key: str, lines: str, head: str) -> None:
    """A key of a later version is one error, whatever stands below it."""
    if head.startswith("[worker") and key in ("agent", "container"):
        head = "[worker.a]\n"
    (problem,) = problems(head + lines)
    assert problem.message == f'"{key}" is not in this version'
    assert problem.line == head.count("\n") + 1


def test_every_later_key_is_tried() -> None:
    """What is judged is what is tested."""
    assert GOOD.keys() == later.WORKER.keys()


# Bad lines: the column of the mistake, and words of its message and hint.
BAD = {
    "agent, nearly": ('agent = "cluade"', 9, 'there is no agent "cluade"', '"claude"?'),
    "queue that nobody has": ('queue = ["shop"]', 10, 'there is no queue "shop"', "[queue.NAME]"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "column", "message", "hint"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_told_as_well(
    problems: Problems, lines: str, column: int, message: str, hint: str
) -> None:
    """The mistake shows before the version that has the feature is installed."""
    found = problems(f"[worker.a]\n{lines}\n")
    kinds = [p for p in found if "is not in this version" in p.message]
    others = [p for p in found if p not in kinds and "has no command" not in p.message]
    assert len(kinds) == 1
    (mistake,) = others
    assert mistake.column == column
    assert message in mistake.message
    assert hint in mistake.hint


WORK = """\
[work]
store = "redis://queue.internal:6379/0"
machine = "build1"
secrets.REDIS_PASSWORD = "credential:redis"
[queue.shop]
repo = "git@git.example.org:team/shop.git"
base = "main"
remote = "origin"
push = true
branch = "task/{id}-{slug}"
isolation = "worktree"
setup = ["make", "bootstrap"]
verify = "make check"
no_changes = "fail"
publish = ["gh", "pr", "create"]
max_attempts = 2
retry_delays = ["1m", "5m"]
budget.usd = 40
budget.per = "24h"
budget.usd_per_task = 4.5
budget.tokens = 1000000
stall_after = "10m"
[agent.mine]
command = ["mine", "{prompt}"]
input = "stdin"
parser = "text"
environment.A = "1"
environment_pass = ["B"]
secrets.C = "credential:c"
run_timeout = "45m"
start_silence = "60s"
silence = "5m"
result_grace = "30s"
stop_signal = ["SIGINT", "SIGTERM"]
stop_timeout = ["10s", "5s"]
ok_exit_codes = [0]
require = "changes"
max_output = "64M"
limits.memory = "4G"
price.input_usd_per_mtok = 0.4
[worker.coder]
agent = "mine"
queue = ["shop"]
"""


def test_the_tables_of_the_work_layer_are_judged(problems: Problems) -> None:
    """Every key of them is known: one error for each table and key at its first place."""
    found = [(problem.line, problem.message) for problem in problems(WORK)]
    assert found == [
        (1, "[work] is not in this version"),
        (5, "[queue] is not in this version"),
        (23, "[agent] is not in this version"),
        (42, '"agent" is not in this version'),
        (43, '"queue" is not in this version'),
    ]


def test_mistakes_in_the_work_layer_are_told(problems: Problems) -> None:
    """Wrong words and values have their places there too."""
    text = (
        WORK.replace("isolation", "isolate").replace('"fail"', '"ignore"').replace('"45m"', '"45"')
    )
    messages = [p.message for p in problems(text) if "not in this version" not in p.message]
    assert messages == [
        'unknown key "isolate" in [queue.shop]',
        '"ignore" is not an answer to a task that changed nothing',
        'run_timeout: expected a duration such as "10s" or "5m", got "45"',
    ]
