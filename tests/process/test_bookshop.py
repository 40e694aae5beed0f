"""An afternoon with a bookshop's machine: a dozen programs, several files, many users.

Each test is what an operations engineer does, and what he wants to see.
"""

import grp
import json
import os
import pwd
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.bookshop import Bookshop
from tests.support.daemon import CHECKOUT
from tests.support.sockets import free_port, get, status_of
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

if os.geteuid() != 0:
    pytest.skip("needs root: its workers run as several users", allow_module_level=True)


#: The command, run by an interpreter that every user may start.
COMMAND = (
    f"import sys; sys.path[:0] = {[str(CHECKOUT)]}\n"
    "from supervisord_lite.cli import main; sys.exit(main())"
)


def a_bookshop(site: str = "production") -> Bookshop:
    return Bookshop(web=free_port(), http=free_port(), site=site)


def check(shop: Bookshop, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shop.argv, "check", "-c", str(shop.config), *arguments],
        env=shop.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def is_open(shop: Bookshop) -> bool:
    try:
        return status_of(shop.http, "/readyz") == 200
    except OSError:
        return False


def lines_of(text: str) -> dict[str, list[str]]:
    """Return the words of each line, by the first."""
    return {words[0]: words for line in text.splitlines() if (words := line.split())}


def test_the_files_are_judged_with_origins_and_without_secrets() -> None:
    """No error and no warning; later files win, and a secret is not shown."""
    for site, size in (("production", 8), ("staging", 2)):
        shop = a_bookshop(site)
        done = check(shop)
        assert (done.returncode, done.stderr) == (0, "")
        shown = check(shop, "--show", "queue").stdout
        assert re.search(rf"^pool_size = {size} ", shown, re.MULTILINE)
        assert re.search(r"^secrets\.DATABASE_URL = \*\*\* +\S+:\d+", shown, re.MULTILINE)
        assert "open-sesame" not in shown
        assert re.search(r'^user = "games" .*via extends app', shown, re.MULTILINE)


def test_everything_comes_up_in_order_and_a_line_for_each() -> None:
    """The table, the job that waits, the users, the ports, the secret, the listener."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        text = shop.ctl("status", check=True).stdout
        assert max(map(len, text.splitlines())) <= 80, text
        lines = lines_of(text)
        assert lines["queue"][1:3] == ["running", "8/8"]
        assert lines["web"][1:3] == ["running", "2/2"]
        assert lines["migrate"][1:3] == ["exited", "1/1"]
        assert lines["hourly-report"][1] == "waiting"
        assert re.search(r"^hourly-report .* next (\w+ )?\d\d:07", text, re.MULTILINE)
        assert "app" not in lines
        workers = shop.workers()
        ports = {shop.log(f"queue-{n}").split()[-2].rstrip(",") for n in range(1, 9)}
        assert ports == {str(9200 + n) for n in range(1, 9)}
        assert "INFO" in shop.log("queue-1")
        uid = pwd.getpwnam("games").pw_uid
        assert os.stat(f"/proc/{workers['beat']['pid']}").st_uid == uid
        assert b"open-sesame" in Path(f"/proc/{workers['beat']['pid']}/environ").read_bytes()
        assert (shop.folder / "jobs/done").read_text().startswith("migrate postgres://")
        with urllib.request.urlopen(f"http://127.0.0.1:{shop.web}/books", timeout=10) as answer:
            assert answer.read().startswith(b"/books from ")
        for index in range(3):
            assert (shop.folder / f"log/thumbs-{index:02}.log").exists()
        secrets = subprocess.run(
            ["grep", "-rl", "open-sesame", str(shop.folder)], capture_output=True, text=True,
            check=False,
        ).stdout.split()  # fmt: skip
        assert set(secrets) == {f"{shop.folder}/secrets/database_url", f"{shop.folder}/jobs/done"}


def test_a_deploy_replaces_one_by_one_and_a_broken_one_changes_nothing() -> None:
    """One more first: while web restarts nobody is refused, and a bad release is given up."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        before = {name: w["pid"] for name, w in shop.workers().items()}
        shop.deploy("2")
        done = shop.ctl("restart", "web", timeout_s=90)
        assert done.returncode == 0, done.stderr
        after = {name: w["pid"] for name, w in shop.workers().items()}
        assert {name for name in after if after[name] != before[name]} == {"web-1", "web-2"}
        shop.deploy("3", wsgi="import shop.checkout\n")
        done = shop.ctl("restart", "web", timeout_s=90)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "ModuleNotFoundError: No module named 'shop'" in said, said
        assert "nothing was stopped" in said, said
        assert {name: w["pid"] for name, w in shop.workers().items()} == after
        done = shop.ctl("start", "migrate", check=True)
        assert "exit 0" in done.stdout


def test_a_reload_says_what_it_does_and_touches_only_that() -> None:
    """The plan in lines of 80 columns; a secret has only changed; pids are kept."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        before = {name: w["pid"] for name, w in shop.workers().items()}
        shop.edit("env/production.toml", '"INFO"', '"DEBUG"')
        shop.edit("conf.d/shop.toml", 'stop_timeout = "30s"', 'stop_timeout = "45s"')
        (shop.folder / "conf.d/new.toml").write_text(
            '[worker.media-crop]\nextends = "app"\ncommand = "sleep 1000"\npool_size = 2\n'
        )
        plan = shop.ctl("reload", "--dry-run", check=True).stdout
        assert max(map(len, plan.splitlines())) <= 80, plan
        assert re.search(r"^\+ media-crop +2 new processes", plan, re.MULTILINE)
        assert re.search(
            r'^~ queue +restart, 4 at a time: environment.LOG_LEVEL "INFO" -> "DEBUG"', plan,
            re.MULTILINE,
        )  # fmt: skip
        assert re.search(r"^~ web +live, 2 pids kept: stop_timeout 30s -> 45s", plan, re.MULTILINE)
        assert shop.ctl("reload", timeout_s=90).returncode == 0
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        after = {name: w["pid"] for name, w in shop.workers().items()}
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {f"queue-{n}" for n in range(1, 9)}
        secret = shop.folder / "secrets/database_url"
        secret.write_text("postgres://bookshop:new-sesame@db/shop\n")
        plan = shop.ctl("reload", "--dry-run", check=True).stdout
        assert re.search(
            r"^~ beat +restart.*: secret.*DATABASE_URL.* has changed", plan, re.MULTILINE
        )
        assert "sesame" not in plan


def test_somebody_without_the_right_is_told_who_has_it() -> None:
    """Exit 5, and nothing is changed."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        before = shop.workers()["beat"]["pid"]
        group = grp.getgrnam("uucp").gr_gid
        done = subprocess.run(
            ["/usr/bin/python3", "-c", COMMAND, "restart", "beat",
             "--socket", str(shop.control_path)],
            user="uucp", group=group, extra_groups=[], env=shop.environment, cwd="/",
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 5, done.stderr
        assert "not permitted for uucp" in done.stderr
        assert "uucp may operate: web, queue" in done.stderr
        assert "beat is operated by: root, @mail" in done.stderr
        assert shop.workers()["beat"]["pid"] == before


def test_what_is_wrong_is_told_to_monitoring_to_people_and_to_the_pager() -> None:
    """A program that fails trips; one that grows is replaced, softly, and that is no failure."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        assert shop.ctl("status", "--check").returncode == 0
        done = shop.ctl("start", "mailer", timeout_s=60)
        assert done.returncode == 1
        shop.wait_state("mailer", "tripped", timeout_s=30)
        wrong = shop.ctl("status", "--check")
        assert wrong.returncode == 1
        assert lines_of(wrong.stdout).keys() == {"mailer"}
        why = shop.ctl("why", "mailer", check=True).stdout
        shown = why.replace(f" --socket {shop.control_path}", "")
        assert max(map(len, shown.splitlines())) <= 80, why
        assert why.count("550 bad credentials") == 1  # the last words of that run, of no other
        assert why.startswith("mailer is TRIPPED since ")
        for part in ("last words of pid", "550 bad credentials", "decided by", "try",
                     "failure 5 of 5", " reset mailer"):  # fmt: skip
            assert part in why, why
        paged = shop.folder / "redis/paged"
        wait_until(
            lambda: paged.exists() and "worker.tripped mailer" in paged.read_text(),
            what="the pager heard of it",
        )
        before = shop.workers()["queue-3"]["pid"]
        (shop.folder / "jobs/grow-queue3").write_text("200")
        grown = wait_until(
            lambda: (w := shop.workers()["queue-3"])["recycles"] == 1 and w, what="it is recycled",
            timeout_s=90,
        )  # fmt: skip
        assert grown["pid"] != before
        assert grown["restarts"] == 0
        events = shop.ctl("events", "--json", check=True).stdout.splitlines()
        names = [json.loads(line)["event"] for line in events]
        assert "worker.recycled" in names


def test_the_end_of_the_day_drains_first() -> None:
    """The balancer hears of it before anybody is stopped, and everything ends in order."""
    with a_bookshop() as shop:
        wait_until(lambda: is_open(shop), what="all is ready", timeout_s=60)
        os.kill(shop.keeper_pid, signal.SIGTERM)
        wait_until(lambda: get(shop.http, "/readyz") == (503, "draining\n"), what="it drains first")
        assert shop.process is not None
        assert shop.process.wait(60) == 0
