"""A bookshop's machine: a dozen programs in several files, as an operations engineer writes them.

Programs of other people are real where the machine has them (redis-server, gunicorn); what the shop
itself would have written is a few lines in this folder.
"""

import os
import shutil
from pathlib import Path
from typing import Self

import gunicorn  # type: ignore[import-untyped]

from tests.support.daemon import Daemon
from tests.support.programs import program

_HERE = Path(__file__).parent
_SCRIPTS = ("manage.py", "queue_worker.py", "pager.py", "wsgi.py")


class Bookshop(Daemon):
    """The daemon with the bookshop's files, in a folder of its own.

    Attributes:
        web, http: The ports of the shop and of the daemon's own pages.
    """

    def __init__(self, *, web: int, http: int, site: str = "production") -> None:
        """Write the files for *site*: "production" or "staging"."""
        self.web, self.http, self._site = web, http, site
        super().__init__("")

    def write(self, workers: str, *, supervisor: str = "") -> None:
        """Write all files; the arguments are not for this one."""
        del workers, supervisor
        (self.folder / "default").write_text(f"SHOP_ENV={self._site}\n")
        (self.folder / "bookshop.env").write_text("BOOKSHOP_SETTINGS=overridden\n")
        secret = self.folder / "secrets/database_url"
        secret.parent.mkdir(exist_ok=True)
        secret.touch(0o600)
        secret.write_text("postgres://bookshop:open-sesame@db/shop\n")
        for folder, owner in (("redis", "nobody"), ("jobs", "games")):
            (self.folder / folder).mkdir(exist_ok=True)
            shutil.chown(self.folder / folder, owner)
        self.deploy("1")
        for template in (*_HERE.glob("*.toml"), *_HERE.glob("*/*.toml")):
            path = self.folder / template.relative_to(_HERE)
            path.parent.mkdir(exist_ok=True)
            path.write_text(self._filled(template.read_text()))

    def _filled(self, text: str) -> str:
        stands_for = {
            "DIR": str(self.folder),
            "HTTP": str(self.http),
            "WEB": str(self.web),
            "REDIS": program("redis-server", "redis-server"),
            "REDIS_CLI": program("redis-cli", "redis-tools"),
            "PYTHON": "/usr/bin/python3",  # that of the tests may stand where others may not look
            "PACKAGES": str(Path(gunicorn.__file__).parents[1]),
        }
        for name, value in stands_for.items():
            text = text.replace(f"@{name}@", value)
        return text

    def deploy(self, release: str, **replaced: str) -> None:
        """Put a release there, and let `current` be it; *replaced*: other texts of its modules."""
        folder = self.folder / "releases" / release
        folder.mkdir(parents=True)
        for script in _SCRIPTS:
            name = script.removesuffix(".py")
            text = replaced.get(name) or (_HERE / script).read_text()
            (folder / script).write_text(text)
        link = self.folder / "next"
        link.symlink_to(folder)
        os.replace(link, self.folder / "current")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text in one of the files."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def __enter__(self) -> Self:
        """Start it."""
        return super().__enter__()
