"""One number changes in a file of people; everything around it stays."""

from pathlib import Path

import pytest

from supervisord_lite.config.rewrite import ChangedMeanwhileError, Edit, NotSavedError


def edit(path: Path, sizes: dict[str, int], **environ: str) -> None:
    with Edit.of_sizes(str(path), sizes, environ=environ, as_root=True) as prepared:
        prepared.write()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text("")
    return path


WEB = "[worker.web] # é\ncommand = 'x'  # why\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WEB + "pool_size=  2  # two\n", WEB + "pool_size=  4  # two\n"),
        (WEB, "[worker.web] # é\npool_size = 4\ncommand = 'x'  # why\n"),
        ("worker.web.pool_size = 2\nworker.web.command = 'x'\n",
         "worker.web.pool_size = 4\nworker.web.command = 'x'\n"),
        ("worker.web = { pool_size = 1_0, command = 'x' }",
         "worker.web = { pool_size = 4, command = 'x' }"),
        ("[defaults]\npool_size = 2\n" + WEB,
         "[defaults]\npool_size = 2\n[worker.web] # é\npool_size = 4\ncommand = 'x'  # why\n"),
        (WEB.replace("\n", "\r\n"),
         "[worker.web] # é\r\npool_size = 4\r\ncommand = 'x'  # why\r\n"),
    ],
)  # fmt: skip
def test_one_number_changes(file: Path, before: str, after: str) -> None:
    """Comments, spaces, the order and the ends of lines are those of before; so is the mode."""
    file.write_bytes(before.encode())
    file.chmod(0o604)
    edit(file, {"web": 4})
    assert file.read_bytes().decode() == after
    assert file.stat().st_mode & 0o777 == 0o604
    assert [each.name for each in file.parent.iterdir()] == ["x.toml"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WEB + "pool_size = '${N}'\n", "pool_size of web is '${N}'"),
        ("worker.web.command = 'x'\n", "there is no line [worker.web]"),
        ("include = 1\n", '"include"'),
        ("[worker.db]\ncommand = 'x'\n", "has no worker web"),
        ("supervisor.include = ['y.toml']\n" + WEB, "stands in"),
        ("supervisor.include = ['z.toml']\n", "stands in another file"),
        (WEB + "log.stdout = './one.log'\n", "would write to one file"),
        (WEB.replace("\n", "\r\n") + "\n", "two different ways"),
        (WEB + "singleton = true\n", "singleton"),
    ],
)
def test_what_a_command_cannot_change_is_refused(file: Path, text: str, why: str) -> None:
    """The value comes from elsewhere, or the file would not be good: nothing is written."""
    (file.parent / "y.toml").write_text("[worker.web]\npool_size = 3\n")
    (file.parent / "z.toml").write_text(WEB)
    file.write_bytes(text.encode())
    with pytest.raises(NotSavedError) as raised:
        edit(file, {"web": 4}, N="2")
    assert why in str(raised.value)
    assert file.read_bytes() == text.encode()
    assert len(list(file.parent.iterdir())) == 3


def test_who_edits_at_the_same_time_wins(file: Path) -> None:
    """What a person saved between the two steps is not lost."""
    file.write_text(WEB)
    sizes = {"web": 4}
    with Edit.of_sizes(str(file), sizes, environ={}, as_root=True) as prepared:
        file.write_text(WEB + "nice = 1\n")
        with pytest.raises(ChangedMeanwhileError, match="somebody has changed it"):
            prepared.write()
    assert file.read_text() == WEB + "nice = 1\n"
    assert len(list(file.parent.iterdir())) == 1


def test_a_link_stays_a_link(file: Path) -> None:
    """The file behind it is changed."""
    file.write_text(WEB)
    link = file.parent / "link.toml"
    link.symlink_to(file)
    edit(link, {"web": 4})
    assert link.is_symlink()
    assert "pool_size = 4" in file.read_text()


def test_what_a_linked_file_includes_stands_beside_the_link(file: Path) -> None:
    """The changed text is judged in the place of the file, not in that of its copy."""
    file.write_text("supervisor.include = ['conf/*.toml']\n" + WEB)
    link = file.parent / "etc" / "x.toml"
    (link.parent / "conf").mkdir(parents=True)
    (link.parent / "conf" / "y.toml").write_text("[worker.web]\npool_size = 3\n")
    link.symlink_to(file)
    with pytest.raises(NotSavedError, match=r"stands in .*y\.toml"):
        edit(link, {"web": 4})
    (link.parent / "conf" / "y.toml").write_text("[worker.db]\ncommand = 'y'\npool_size = 3\n")
    (file.parent / "conf").mkdir()
    (file.parent / "conf" / "z.toml").write_text("[worker.web]\npool_size = 3\n")
    edit(link, {"web": 4})
    assert "pool_size = 4" in file.read_text()
