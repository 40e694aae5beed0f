"""Secrets in the file: where they are kept, what is wrong with that, and that none is shown."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.cli.reload import lines_of
from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError, Problem, render
from supervisord_lite.config.load import Judged, judge
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.secret_digests import sealed, unsealed
from supervisord_lite.config.show import show
from supervisord_lite.config.spec import Secret, Spec, spec_from_json, to_json, to_short_json
from supervisord_lite.supervisor.launch import spawn_request

HEAD = "[worker.web]\ncommand = 'x'\n"
CANARY = "c4nary-hunter2"
NONE: Mapping[str, str] = {}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a file that holds a secret as it should."""
    path = tmp_path / "kept"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o640)
    return path


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def judged(tmp_path: Path, text: str, environ: Mapping[str, str] = NONE) -> Judged:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return judge(str(path), environ=environ, as_root=True)


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] = NONE) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        judged(tmp_path, text, environ)
    assert CANARY not in str(caught.value)
    assert CANARY not in json.dumps([each._asdict() for each in caught.value.problems])
    return caught.value.problems


def the_spec(found: Judged) -> Spec:
    (spec,) = found.configuration.specs
    return spec


def test_where_secrets_are_kept_arrives(tmp_path: Path, kept: Path) -> None:
    """A path is relative to its file, and each instance may have its own."""
    for number in (1, 2):
        own = tmp_path / f"key-{number}"
        own.write_text("x")
        own.chmod(0o600)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "dsn").write_text("x")
    (folder / "dsn").chmod(0o400)
    text = (
        f'{HEAD}pool_size = 2\nsecrets.A = "file:kept"\nsecrets.B = "credential:dsn"\n'
        'secrets.C = "file:${WHERE}/key-%i"\nsecrets_as = "files"\n'
    )
    environ = {"CREDENTIALS_DIRECTORY": str(folder), "WHERE": str(tmp_path)}
    found = judged(tmp_path, text, environ)
    assert found.warnings == ()
    launch = the_spec(found).launch
    assert launch.secrets == (
        Secret("A", "file", str(kept)),
        Secret("B", "credential", "dsn"),
        Secret("C", "file", f"{tmp_path}/key-%i"),
    )
    request = spawn_request(the_spec(found), 2, 7, found.configuration.settings)
    assert request["secrets"] == [
        ["A", "file", str(kept)], ["B", "credential", "dsn"], ["C", "file", f"{tmp_path}/key-2"]
    ]  # fmt: skip
    assert (request["secrets_as"], request["notify"]) == ("files", None)
    assert str(request["folder"]).endswith("/w/web.2.7")
    assert ("SUPERVISORD_LITE_SECRETS", "A B C") in request["environment"]  # type: ignore[operator]


def test_nothing_of_a_secret_is_lost_and_nothing_of_it_is_written(
    tmp_path: Path, kept: Path
) -> None:
    """Neither in what the keeper keeps, nor in the file that is written for people."""
    found = judged(tmp_path, f'{HEAD}secrets.A = "file:{kept}"\nsecrets_as = "files"\n')
    configuration = sealed(found.configuration, "key", {})
    (spec,) = configuration.specs
    assert spec.launch.secrets[0].digest
    assert spec_from_json(to_json(spec)) == spec
    assert spec_from_json(to_short_json(spec)) == spec
    text = render_effective(configuration)
    assert f'secrets.A = "file:{kept}"' in text
    assert 'secrets_as = "files"' in text
    assert CANARY not in text + to_json(spec)
    assert the_spec(judged(tmp_path, text)).launch == unsealed(spec).launch


def test_a_table_of_secrets_is_inherited_as_any(tmp_path: Path, kept: Path) -> None:
    """A worker adds to what it extends, replaces, and leaves out."""
    text = (
        f'[defaults]\nsecrets.A = "file:{kept}"\n[worker.base]\nenabled = false\n'
        f'secrets.B = "file:/nowhere"\nsecrets.C = "file:/nowhere"\n'
        f'[worker.web]\nextends = "base"\ncommand = "x"\nsecrets.B = "file:{kept}"\n'
        "secrets.C = false\n"
    )
    found = judged(tmp_path, text)
    assert [each.name for each in the_spec(found).launch.secrets] == ["A", "B"]
    assert {each.place for each in the_spec(found).launch.secrets} == {str(kept)}


LITERALS = (
    f'secrets.A = "{CANARY}"',
    f'secrets = {{ A = "{CANARY}" }}',
    f'secrets = "{CANARY}"',
    f'secrets.A = ["{CANARY}"]',
    f'secrets.A.value = "{CANARY}"',
    f'secrets = {{ "bad name" = "file:/x", B = "{CANARY}" }}',
    f'secrets = {{ A = "file:/nowhere", B = "{CANARY}" }}',
    f'secrets.A = "credential:{CANARY} x"',
    'secrets.A = "${PLAIN}"',
)


@pytest.mark.parametrize("line", LITERALS)
@pytest.mark.parametrize("head", [HEAD, "[defaults]\n", f"{HEAD}enabled = false\n"])
def test_a_secret_in_the_file_is_an_error_that_does_not_show_it(
    tmp_path: Path, head: str, line: str
) -> None:
    """Neither its value nor its line."""
    found = problems(tmp_path, f"{head}{line}\n", {"PLAIN": CANARY})
    assert all(problem.source == "" for problem in found)
    assert any("expected" in problem.message for problem in found)


def test_a_header_that_swallows_keys_shows_no_secret(tmp_path: Path) -> None:
    """The way out is an example, not what stands there."""
    found = problems(tmp_path, f'[worker.web.secrets]\nA = "{CANARY}"\ncommand = "x"\n')
    (swallowed,) = (each for each in found if "stands inside" in each.message)
    assert 'write secrets.NAME = "file:PATH" without the header' in swallowed.hint


BAD = {
    "folder": ("is not a file", ""),
    "fifo": ("is not a file", ""),
    "readable": ("everybody may read ", "chmod o= "),
    "writable": ("everybody may write ", "chmod o= "),
    "open/inside": ("is open to all", "chmod o-w "),
    "link": ("is open to all", "chmod o-w "),
    "open/link": ("is open to all", "chmod o-w "),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_kept_well_is_an_error(tmp_path: Path, kept: Path, name: str) -> None:
    """It names the path and the way out."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name_, mode in (("readable", 0o644), ("writable", 0o602)):
        (tmp_path / name_).write_text("x")
        (tmp_path / name_).chmod(mode)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    inside = tmp_path / "open/inside"
    inside.write_text("x")
    inside.chmod(0o600)
    (tmp_path / "link").symlink_to(inside)
    (tmp_path / "open/link").symlink_to(kept)
    (problem,) = problems(tmp_path, f'{HEAD}secrets.A = "file:{name}"\n')
    words, hint = BAD[name]
    assert problem.message.startswith("secrets.A: ")
    assert words in problem.message
    assert str(tmp_path) in problem.message
    assert problem.hint.startswith(hint)
    assert (problem.line, bool(problem.hint)) == (3, bool(hint))


@pytest.mark.parametrize("name", ["missing", "no/folder", "kept/no-folder"])
def test_a_file_that_is_missing_is_a_warning(tmp_path: Path, kept: Path, name: str) -> None:
    """It may still come, and each start reads it anew; so the others are not held up."""
    found = judged(tmp_path, f'{HEAD}secrets.A = "file:{name}"\n')
    (warning,) = found.warnings
    assert warning.message.startswith("secrets.A: no such file: ")
    assert str(tmp_path / name) in warning.message
    assert (warning.line, warning.source) == (3, "")
    assert "backoff.max" in warning.hint


def test_a_sticky_folder_is_nobody_elses(tmp_path: Path, kept: Path) -> None:
    """As /tmp is: only who owns a file there can replace it."""
    tmp_path.chmod(0o1777)
    assert judged(tmp_path, f'{HEAD}secrets.A = "file:{kept}"\n').warnings == ()


def test_a_credential_without_its_folder_is_a_warning(tmp_path: Path) -> None:
    """Who checks a file on another machine, or beside the service, has none."""
    found = judged(tmp_path, f'{HEAD}secrets.A = "credential:dsn"\n')
    (warning,) = found.warnings
    assert "nothing is known here of the credential dsn" in warning.message
    assert "LoadCredential=dsn:PATH" in warning.hint


def test_a_credential_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Where the folder is known."""
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (problem,) = problems(tmp_path, f'{HEAD}secrets.A = "credential:dsn"\n', environ)
    assert problem.message == f"secrets.A: no such file: {tmp_path}/dsn"
    assert "LoadCredential=dsn:PATH" in problem.hint


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "a b"])
def test_a_credential_is_a_name_and_no_way_to_other_files(tmp_path: Path, name: str) -> None:
    """What stands in the folder of credentials, and nothing else."""
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    problems(tmp_path, f'{HEAD}secrets.A = "credential:{name}"\n', environ)


CLASHES = (
    ('environment.A = "1"', "environment has a A too"),
    ('environment.A_FILE = "1"\nsecrets_as = "files"', "environment has a A_FILE too"),
    ('command = ["x", "--password=${A}"]', "everybody may read a command line"),
    ('command = "x ${A:-none}"', "everybody may read a command line"),
    ('sockets.A = ":80"\nsecrets_as = "files"', "stands in the same folder"),
)


@pytest.mark.parametrize(("lines", "words"), CLASHES)
def test_a_secret_that_has_a_double_is_an_error(
    tmp_path: Path, kept: Path, lines: str, words: str
) -> None:
    """Nobody could say which of the two holds; and no command line shows one."""
    head = "" if "command" in lines else "command = 'x'\n"
    text = f'[worker.web]\n{head}secrets.A = "file:{kept}"\n{lines}\n'
    (problem,) = problems(tmp_path, text, {"A": "from the daemon"})
    assert words in problem.message


def test_what_only_looks_like_a_double_is_none(tmp_path: Path, kept: Path) -> None:
    """A variable that is unset, a literal, and the other way of giving."""
    lines = 'environment.A = false\nenvironment.A_FILE = "1"\n'
    text = f"[worker.web]\ncommand = 'x $${{A}} $A'\nsecrets.A = 'file:{kept}'\n{lines}"
    assert judged(tmp_path, text).warnings == ()


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "SUPERVISORD_LITE_NAME", "LISTEN_FDS", "'A='"])
def test_names_that_no_secret_can_have(tmp_path: Path, kept: Path, name: str) -> None:
    """The daemon's own, and what is no name."""
    problems(tmp_path, f'{HEAD}secrets.{name} = "file:{kept}"\n')


def test_check_shows_how_a_secret_is_kept(tmp_path: Path, kept: Path) -> None:
    """Where it is written, whose the file is, and no value."""
    text = f'[defaults]\nsecrets.B = "credential:dsn"\n{HEAD}secrets.A = "file:{kept}"\n'
    found = judged(tmp_path, text)
    lines = {line.key: line for line in show("web", found)}
    assert lines["secrets.A"].text() == "secrets.A = ***"
    assert lines["secrets.A"].origin == "x.toml:5"
    kind, mode, owner = lines["secrets.A"].note.split()
    assert (kind, mode, owner.count(":")) == ("file,", "0640", 1)
    assert lines["secrets.B"].note == "credential, not known here"
    assert CANARY not in str(lines)


def test_a_plan_tells_that_a_secret_has_changed_and_nothing_of_it(
    tmp_path: Path, kept: Path
) -> None:
    """Moved, rotated, new and gone; a file that was only touched is none of these."""
    other = tmp_path / "other"
    other.write_text("x")
    other.chmod(0o600)
    text = f'{HEAD}secrets.A = "file:{kept}"\nsecrets.B = "file:{kept}"\n'
    old = sealed(judged(tmp_path, text).configuration, "key", {})
    os.utime(kept, (1, 1))
    assert make_plan(old.specs, sealed(old, "key", {}).specs).is_empty
    kept.write_text("rotated")
    rotated = make_plan(old.specs, sealed(old, "key", {}).specs)
    (change,) = rotated.changed
    assert change.effect == "restart"
    assert [key.key for key in change.keys] == ["secrets.A", "secrets.B"]
    text = f'{HEAD}secrets.A = "file:{other}"\nsecrets.C = "file:{kept}"\n'
    new = sealed(judged(tmp_path, text).configuration, "key", {})
    (change,) = make_plan(old.specs, new.specs).changed
    keys = [{"key": key.key, "old": key.old, "new": key.new} for key in change.keys]
    told = lines_of({"modified": [{"pool": "web", "effect": "restart", "keys": keys}]}, is_dry=True)
    assert [line.split(": ")[-1].strip() for line in told[:3]] == [
        "secret A has changed", "secret C is new", "secret B is no longer given"
    ]  # fmt: skip
    assert str(tmp_path) not in "\n".join(told)


def test_a_digest_is_no_oracle(tmp_path: Path, kept: Path) -> None:
    """Without the key nothing can be tried; and what another daemon has left says nothing."""
    kept.write_text("1234")
    found = judged(tmp_path, f'{HEAD}secrets.A = "file:{kept}"\n').configuration
    one, other = (sealed(found, key, {}).specs for key in ("key", "other key"))
    assert one[0].launch.secrets[0].digest != other[0].launch.secrets[0].digest
    assert sealed(found, "", {}) == found
    assert make_plan(one, found.specs).is_empty
    assert make_plan(found.specs, one).is_empty
    assert make_plan([unsealed(one[0])], other).is_empty


def test_a_secret_that_cannot_be_read_is_no_change(tmp_path: Path, kept: Path) -> None:
    """It may be on its way; the start of the worker will tell."""
    text = f'{HEAD}secrets.A = "file:{kept}"\n'
    old = sealed(judged(tmp_path, text).configuration, "key", {})
    kept.unlink()
    new = sealed(old, "key", {})
    assert new.specs[0].launch.secrets[0].digest == ""
    assert make_plan(old.specs, new.specs).is_empty


def test_an_old_save_has_no_secrets(tmp_path: Path) -> None:
    """It is read with what was not known then left out."""
    spec = the_spec(judged(tmp_path, HEAD))
    data = json.loads(to_json(spec))
    del data["launch"]["secrets"], data["launch"]["secrets_as"]
    assert spec_from_json(json.dumps(data)) == spec
    assert replace(spec.launch).secrets == ()


def test_warnings_show_no_line_either(tmp_path: Path) -> None:
    """The same line may hold another value."""
    found = judged(tmp_path, f'{HEAD}secrets = {{ A = "credential:x" }}\n')
    assert found.warnings[0].source == ""
    assert "secrets = {" not in render(found.warnings, "warning")
