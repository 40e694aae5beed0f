"""Several files are one configuration, and workers inherit from one another."""

import glob
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import Judged, judge
from supervisord_lite.config.spec import (
    Configuration,
    Grant,
    Spec,
    settings_from_json,
    spec_from_json,
    to_json,
    to_short_json,
)
from supervisord_lite.core.policy import Rung

Judge = Callable[..., Judged]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Return a function that judges texts by file name, the one named first including others."""
    monkeypatch.chdir(tmp_path)

    def judge_texts(
        texts: Mapping[str, str], *, environ: Mapping[str, str] | None = None
    ) -> Judged:
        for name, text in texts.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return judge(next(iter(texts)), environ=environ or {}, as_root=True)

    return judge_texts


def specs_of(judged: Judged) -> dict[str, Spec]:
    return {spec.pool: spec for spec in judged.configuration.specs}


def problems_of(judged: Judge, texts: Mapping[str, str]) -> list[tuple[str, int, int, str]]:
    with pytest.raises(ConfigurationError) as caught:
        judged(texts)
    return [place_of(problem) for problem in caught.value.problems]


def place_of(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.message


# -- include ---------------------------------------------------------------------------------------


def test_a_later_file_beats_an_earlier_one_key_by_key(judged: Judge) -> None:
    """Files of one folder come in the order of names, the include list in its own order."""
    found = judged({
        "main.toml": '[supervisor]\ninclude = ["conf.d/*.toml", "env/${E}.toml"]\n'
        '[defaults]\numask = "077"\nnice = 1\n',
        "conf.d/b.toml": '[worker.b]\ncommand = ["b"]\n[worker.a]\nnice = 3\n',
        "conf.d/a.toml": '[worker.a]\ncommand = ["a"]\nnice = 2\nenvironment.A = "1"\n'
        'environment.B = "1"\n',
        "env/x.toml": '[defaults]\nnice = 4\n[worker.a]\nenvironment.B = "2"\n',
    }, environ={"E": "x"})  # fmt: skip
    specs = specs_of(found)
    assert found.files == ("main.toml", "conf.d/a.toml", "conf.d/b.toml", "env/x.toml")
    assert list(specs) == ["a", "b"]
    assert (specs["a"].launch.nice, specs["b"].launch.nice) == (3, 4)
    assert (specs["a"].launch.umask, specs["a"].launch.argv) == (0o077, ("a",))
    assert dict(specs["a"].launch.environment) == {"A": "1", "B": "2"}
    assert (specs["a"].origin.file, specs["a"].origin.line) == ("conf.d/a.toml", 1)


def test_relative_paths_begin_at_their_file(judged: Judge, tmp_path: Path) -> None:
    """A path is read from the folder of the file that it is written in, also when inherited."""
    found = judged({
        "main.toml": '[supervisor]\ninclude = "sub/x.toml"\nlog_dir = "logs"\n'
        '[defaults]\nlog.stderr = "err-%i.log"\n[worker.base]\nenabled = false\n'
        'environment_file = "base.env"\n',
        "sub/x.toml": '[supervisor]\nstate_dir = "state"\n[worker.a]\nextends = "base"\n'
        'command = "x"\nlog.stdout = "a.log"\n',
        "base.env": "FROM=base\n",
    })  # fmt: skip
    settings, launch = found.configuration.settings, specs_of(found)["a"].launch
    assert settings.state_dir == str(tmp_path / "sub/state")
    assert settings.log_dir == str(tmp_path / "logs")
    assert settings.config_path == str(tmp_path / "main.toml")
    assert launch.stdout.path == str(tmp_path / "sub/a.log")
    assert launch.stderr.path == str(tmp_path / "err-%i.log")
    assert launch.directory == str(tmp_path / "sub")
    assert dict(launch.environment) == {"FROM": "base"}


def test_an_included_file_may_include(judged: Judge) -> None:
    """Its files stand right behind it, found from its own folder; a pattern may match nothing."""
    found = judged({
        "main.toml": '[supervisor]\ninclude = ["a/a.toml", "c.toml", "none/*.toml"]\n',
        "a/a.toml": '[supervisor]\ninclude = ["b.toml"]\n[worker.w]\nnice = 1\n',
        "a/b.toml": "[worker.w]\nnice = 2\numask = 0\n",
        "c.toml": '[worker.w]\ncommand = "c"\nnice = 3\n',
    })  # fmt: skip
    launch = specs_of(found)["w"].launch
    assert found.files == ("main.toml", "a/a.toml", "a/b.toml", "c.toml")
    assert (launch.nice, launch.umask) == (3, 0)


def test_files_that_include_each_other_are_told(judged: Judge) -> None:
    """The place is the include that closes the circle."""
    found = problems_of(judged, {
        "main.toml": '[supervisor]\ninclude = ["a.toml"]\n',
        "a.toml": '[supervisor]\ninclude = ["b.toml"]\n',
        "b.toml": '[supervisor]\ninclude = ["./a.toml"]\n',
    })  # fmt: skip
    assert found == [
        ("b.toml", 2, 12, "the file includes itself: a.toml -> b.toml -> ./a.toml"),
    ]


def test_errors_of_all_files_come_at_once(judged: Judge) -> None:
    """A file that is no TOML hides nothing of the others, and no error follows from its lack."""
    texts = {
        "main.toml": '[supervisor]\ninclude = ["a.toml", "b.toml", "c.toml"]\n[worker.m]\n'
        'command = "m"\nnise = 1\nrequires = ["a"]\nextends = "a"\n',
        "a.toml": '[worker.a]\ncommand = "a\n',
        "b.toml": "[worker.b]\npool_size = 0\n",
    }
    with pytest.raises(ConfigurationError) as caught:
        judged(texts)
    found = [(problem.file, problem.line) for problem in caught.value.problems]
    assert found == [("main.toml", 2), ("main.toml", 5), ("a.toml", 2), ("b.toml", 2)]
    assert str(caught.value).endswith("\n4 errors in 4 files.")


def test_the_daemon_s_variables_are_named_in_the_first_file(judged: Judge) -> None:
    """`environment_file` of an included file would come too late for `include`."""
    found = problems_of(judged, {
        "main.toml": '[supervisor]\ninclude = "a.toml"\n',
        "a.toml": '[supervisor]\nenvironment_file = "-x.env"\n',
    })  # fmt: skip
    (place,) = found
    assert place[:3] == ("a.toml", 2, 1)


def test_a_file_of_variables_may_name_the_files(judged: Judge) -> None:
    """${NAME} in `include` knows what environment_file sets."""
    found = judged({
        "main.toml": '[supervisor]\nenvironment_file = "x.env"\ninclude = "${WHICH}.toml"\n',
        "x.env": "WHICH=a\n",
        "a.toml": '[worker.a]\ncommand = "a"\n',
    })  # fmt: skip
    assert list(specs_of(found)) == ["a"]


# -- extends, enabled ------------------------------------------------------------------------------


def test_a_worker_extends_another_over_several_steps(judged: Judge) -> None:
    """Own keys beat those of the base, those beat its base's, those [defaults]; tables merge."""
    found = judged({"x.toml": (
        '[defaults]\nnice = 1\numask = 0\nenvironment.D = "d"\nmax_restarts = 9\n'
        '[worker.root]\nenabled = false\nnice = 2\nenvironment.R = "r"\nrestart = "always"\n'
        '[worker.mid]\nextends = "root"\ncommand = "mid"\nnice = 3\nautostart = false\n'
        '[worker.leaf]\nextends = "mid"\ncommand = "leaf"\nenvironment.R = "leaf"\n'
    )})  # fmt: skip
    specs = specs_of(found)
    assert list(specs) == ["mid", "leaf"]
    leaf = specs["leaf"]
    assert (leaf.launch.argv, leaf.launch.nice, leaf.launch.umask) == (("leaf",), 3, 0)
    assert dict(leaf.launch.environment) == {"D": "d", "R": "leaf"}
    assert (leaf.policy.restart, leaf.policy.max_restarts) == ("always", 9)
    assert not leaf.policy.autostart
    assert specs["mid"].launch.argv == ("mid",)


def test_enabled_is_not_handed_on(judged: Judge) -> None:
    """A base that is never started does not disable those that extend it."""
    text = '[worker.a]\nenabled = false\ncommand = "a"\n[worker.b]\nextends = "a"\n'
    assert list(specs_of(judged({"x.toml": text}))) == ["b"]


def test_a_later_file_may_switch_off(judged: Judge) -> None:
    """`enabled = false` in the file of one environment takes the worker out there."""
    found = judged({
        "x.toml": '[supervisor]\ninclude = "y.toml"\n[worker.a]\ncommand = "a"\n'
        '[worker.b]\ncommand = "b"\nafter = "a"\n',
        "y.toml": "[worker.a]\nenabled = false\n",
    })  # fmt: skip
    assert list(specs_of(found)) == ["b"]
    assert specs_of(found)["b"].after == ()
    assert list(found.tables) == ["a", "b"]


# -- requires, after and what else a spec says -----------------------------------------------------


def test_a_spec_says_who_waits_for_whom(judged: Judge) -> None:
    """Names arrive once each; `after` of [defaults] does not hold for the worker it names."""
    found = judged({"x.toml": (
        '[defaults]\nafter = ["log"]\n[worker.log]\ncommand = "l"\n'
        '[worker.db]\ncommand = "d"\nafter = []\n'
        '[worker.web]\ncommand = "w"\nrequires = ["db", "db"]\n'
    )})  # fmt: skip
    specs = specs_of(found)
    assert [(spec.requires, spec.after) for spec in specs.values()] == [
        ((), ()), ((), ()), (("db",), ("log",)),
    ]  # fmt: skip


def test_a_long_chain_is_no_circle(judged: Judge) -> None:
    """A thousand workers in a row, written backwards, are judged without recursion."""
    text = "".join(f'[worker.w{i}]\ncommand = "x"\nrequires = ["w{i + 1}"]\n' for i in range(999))
    found = judged({"x.toml": text + '[worker.w999]\ncommand = "x"\n'})
    assert len(found.configuration.specs) == 1000
    text = "".join(f'[worker.w{i}]\nextends = "w{i + 1}"\n' for i in range(999))
    found = judged({"x.toml": text + '[worker.w999]\ncommand = "x"\nnice = 7\n'})
    assert {spec.launch.nice for spec in found.configuration.specs} == {7}


def test_the_words_of_a_spec(judged: Judge) -> None:
    """critical, singleton, run_timeout and ready = "exit" arrive."""
    found = judged({"x.toml": (
        '[worker.a]\ncommand = "x"\ncritical = true\nsingleton = true\nrun_timeout = "15m"\n'
        'ready = "exit"\n[worker.b]\ncommand = "x"\ncritical = "all"\npool_size = 2\n'
        '[worker.c]\ncommand = "x"\ncritical = false\n'
    )})  # fmt: skip
    a, b, c = found.configuration.specs
    assert (a.critical, b.critical, c.critical) == ("any", "all", "no")
    assert (a.singleton, b.singleton) == (True, False)
    assert (a.policy.run_timeout_s, b.policy.run_timeout_s) == (900.0, None)
    assert (a.policy.ready_by, b.policy.ready_by) == ("exit", "alive")


def test_rights_are_looked_up(judged: Judge) -> None:
    """Users and groups of [control] and `operators` become numbers when the file is read."""
    found = judged({"x.toml": (
        '[control]\nadmin = "root"\noperate = ["@0"]\nread = ["*", "0"]\n'
        '[worker.a]\ncommand = "x"\noperators = ["@root"]\n'
    )})  # fmt: skip
    settings = found.configuration.settings
    assert settings.admin == (Grant("root", uid=0),)
    assert settings.operate == (Grant("@0", gid=0),)
    assert settings.read == (Grant("*"), Grant("0", uid=0))
    assert settings_from_json(to_json(settings)) == settings
    (spec,) = found.configuration.specs
    assert spec.operators == (Grant("@root", gid=0),)
    assert spec_from_json(to_json(spec)) == spec
    assert spec_from_json(to_short_json(spec)) == spec


# -- values ----------------------------------------------------------------------------------------


def test_a_variable_may_spell_a_number(judged: Judge) -> None:
    """`"${N}"` is a number where one is wanted; a text typed in quotes stays a text."""
    text = (
        '[worker.a]\ncommand = ["${N}"]\npool_size = "${N}"\nautostart = "${NO}"\n'
        'stop_timeout = "${N}"\nlimits.cpu = "${HALF:-0.5}"\nok_exit_codes = [0, "${N}"]\n'
        'critical = "${YES:-true}"\nlimits.nofile = "${N}"\n'
    )
    found = judged({"x.toml": text}, environ={"N": "3", "NO": "false"})
    (spec,) = found.configuration.specs
    assert spec.launch.argv == ("3",)
    assert (spec.pool_size, spec.policy.autostart, spec.critical) == (3, False, "any")
    assert spec.policy.stop_ladder == (Rung(15, 3.0),)
    assert (spec.launch.cpu_cores, spec.policy.ok_exit_codes) == (0.5, (0, 3))
    assert spec.launch.rlimits[0].value == 3
    assert isinstance(spec.pool_size, int)


@pytest.mark.parametrize("value", ["x", "", "1e999", "9" * 5000, "nan", "[1]", "0x10", "1 2"])
def test_a_variable_that_spells_no_number_is_told(judged: Judge, value: str) -> None:
    """What a variable holds is judged like what is typed."""
    with pytest.raises(ConfigurationError) as caught:
        judged({"x.toml": '[worker.a]\ncommand = "x"\npool_size = "${N}"\n'}, environ={"N": value})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (3, 13)


def test_real_time_signals_have_the_names_of_the_manual(judged: Judge) -> None:
    """SIGRTMIN+n and SIGRTMAX-n are signals; those beyond the range are not."""
    text = '[worker.a]\ncommand = "x"\nstop_signal = ["{}", "{}"]\nstop_timeout = ["1s", "1s"]\n'
    found = judged({"x.toml": text.format("SIGRTMIN+3", "SIGRTMAX-14")})
    numbers = [rung.signal for rung in specs_of(found)["a"].policy.stop_ladder]
    assert numbers == [signal.SIGRTMIN + 3, signal.SIGRTMAX - 14]
    places = problems_of(judged, {"x.toml": text.format("SIGRTMIN+31", "RTMIN+1")})
    assert [place[:3] for place in places] == [("x.toml", 3, 16), ("x.toml", 3, 31)]


def test_a_disabled_worker_may_be_for_another_machine(judged: Judge) -> None:
    """Users and files that only exist elsewhere are no errors of a worker that is off here."""
    text = (
        '[worker.a]\nenabled = false\nuser = "nosuchuser"\nenvironment_file = "no.env"\n'
        'operators = ["@nosuchgroup"]\n'
    )
    assert judged({"x.toml": text}).configuration == Configuration(
        judged({"x.toml": ""}).configuration.settings, ()
    )


def test_relative_names_are_relative_to_where_one_stands(judged: Judge, tmp_path: Path) -> None:
    """Errors name files as one would type them."""
    judged({"sub/x.toml": '[supervisor]\ninclude = "y/*.toml"\n', "sub/y/z.toml": ""})
    os.chdir(tmp_path / "sub")
    assert judge("x.toml", environ={}, as_root=True).files == ("x.toml", "y/z.toml")
    full = str(tmp_path / "sub/x.toml")
    assert judge(full, environ={}, as_root=True).files[1] == str(tmp_path / "sub/y/z.toml")


def test_other_files_are_mentioned_by_their_short_names(
    judged: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of an error is as typed; a hint names a file as seen from the first one."""
    judged({
        "main.toml": '[supervisor]\ninclude = "c/*.toml"\n',
        "c/a.toml": '[worker.redis]\ncommand = "r"\n',
    })  # fmt: skip
    (tmp_path / "c/b.toml").write_text('[worker.web]\ncommand = "w"\nrequires = "redsi"\n')
    monkeypatch.chdir("/")
    with pytest.raises(ConfigurationError) as caught:
        judge(str(tmp_path / "main.toml"), environ={}, as_root=True)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "c/b.toml")
    assert problem.message.endswith('did you mean "redis" (c/a.toml:1)?')


def test_a_variable_that_is_no_text_is_told(judged: Judge) -> None:
    """Bytes of the environment that are not UTF-8 cannot stand in a configuration."""
    with pytest.raises(ConfigurationError) as caught:
        judged({"x.toml": '[worker.a]\ncommand = ["x", "${A}"]\n'}, environ={"A": "\udcff"})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 17)
    assert "not UTF-8" in problem.message


def test_a_file_that_vanishes_behind_a_pattern_counts_as_not_matched(
    judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed between the look at the folder and the reading; a link to nothing is wrong."""
    look = glob.glob

    def look_and_lose(pattern: str) -> list[str]:
        found = look(pattern)
        Path("conf.d/b.toml").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(glob, "glob", look_and_lose)
    texts = {
        "main.toml": 'supervisor.include = "conf.d/*.toml"\n',
        "conf.d/a.toml": "[worker.a]\ncommand = 'a'\n",
        "conf.d/b.toml": "[worker.b]\ncommand = 'b'\n",
    }
    found = judged(texts)
    assert (list(specs_of(found)), found.files) == (["a"], ("main.toml", "conf.d/a.toml"))
    Path("conf.d/c.toml").symlink_to("nothing")
    ((*_, message),) = problems_of(judged, texts)
    assert message == "conf.d/c.toml: no such file"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ('N="3\nM=4s\n', ("{0}", 1, 3, "N: the quotes around the value do not match")),
        (None, ("x.toml", 1, 31, "{0}: no such file")),
    ],
)
def test_only_the_slip_in_a_file_of_variables_is_told(
    judged: Judge, tmp_path: Path, variables: str | None, told: tuple[str, int, int, str]
) -> None:
    """What it would have set is not known then: nothing else is said of what uses it."""
    variables_file = tmp_path / "some.env"
    if variables is not None:
        variables_file.write_text(variables)
    text = (
        'supervisor.environment_file = "some.env"\n'
        'supervisor.include = ["${Q}/*.toml", "y.toml"]\n'
        '[worker.a]\ncommand = ["x", "${N}"]\npool_size = "${N}"\nstop_timeout = "${M}"\n'
        'environment.N = "${N}"\nuser = "${U}"\nrequires = ["${R}"]\nnice = "${A-}"\n'
    )
    found = problems_of(judged, {"x.toml": text, "y.toml": '[worker.b]\ncommand = "${N}"\nnise=1'})
    file, line, column, message = told
    expected = [
        (file.format(variables_file), line, column, message.format(variables_file)),
        ("x.toml", 10, 9, "${ begins a variable: ${NAME} or ${NAME:-default}"),
        ("y.toml", 3, 1, 'unknown key "nise" in [worker.b]'),
    ]
    assert sorted(found) == sorted(expected)


def test_of_a_variable_that_is_not_set_only_that_is_told(judged: Judge) -> None:
    """That its reference is no number either helps nobody."""
    text = '[worker.a]\ncommand = "x"\npool_size = "${N}"\n'
    assert problems_of(judged, {"x.toml": text}) == [
        ("x.toml", 3, 14, "${N} is not set in the daemon's environment")
    ]
