"""Files to one `Configuration`, or everything that is wrong with them."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from supervisord_lite.base.record import record, replace
from supervisord_lite.config.doubts import warn
from supervisord_lite.config.errors import ConfigurationError, in_order
from supervisord_lite.config.files import read_files
from supervisord_lite.config.keys import check_control, check_supervisor, check_top
from supervisord_lite.config.later import check_names
from supervisord_lite.config.spec import Configuration
from supervisord_lite.config.supervisor import read_settings
from supervisord_lite.config.tree import merge
from supervisord_lite.config.values import Reader
from supervisord_lite.config.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.source import Version
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.tree import Table


_NOTHING: Mapping[str, str] = {}


@record
class Judged:
    """A configuration without errors, and what else is known of it.

    Attributes:
        configuration: What is to run.
        warnings: What is allowed and probably not meant, in the order of files and lines.
        files: Every file that was read, as typed, in the order of force.
        documents: What stands in them, each once.
        tables: Of each worker, the disabled ones too, its keys with their places; what it extends
            and [defaults] merged in.
    """

    configuration: Configuration
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]
    documents: tuple[Document, ...]
    tables: Mapping[str, Table]


def load(path: str, *, environ: Mapping[str, str], as_root: bool) -> Configuration:
    """Return what the file *path* means: `judge` without what is for people.

    Raises:
        ConfigurationError: With every problem that was found.
    """
    return judge(path, environ=environ, as_root=as_root).configuration


def judge(
    path: str,
    *,
    environ: Mapping[str, str],
    as_root: bool,
    instead: Mapping[str, str] = _NOTHING,
    seen: dict[str, Version] | None = None,
) -> Judged:
    """Return what the file and those that it includes mean. Nothing is changed or made.

    Args:
        path: As typed; it stands so in errors.
        environ: The daemon's environment: for ``${NAME}`` and the default folders.
        as_root: Whether the daemon will be root: default folders, and who may run as whom.
        instead: For some files (absolute paths) another one whose content is to be judged.
        seen: Takes the version of each file that was read, by its name; also when this raises.

    Raises:
        ConfigurationError: With every problem that was found, and the warnings.
    """
    reader = Reader(seen)
    judged = _read(reader, path, environ=environ, as_root=as_root, instead=instead)
    if reader.problems:
        raise ConfigurationError(reader.problems, warnings=reader.warnings, files=judged.files)
    return judged


def survey(path: str, *, environ: Mapping[str, str], as_root: bool) -> Judged:
    """Return what the files mean as far as can be told: for who asks where a value stands.

    What is wrong in them counts as if it were not there. Arguments as of `judge`.
    """
    return _read(Reader(), path, environ=environ, as_root=as_root, instead=_NOTHING)


def _read(
    reader: Reader,
    path: str,
    *,
    environ: Mapping[str, str],
    as_root: bool,
    instead: Mapping[str, str],
) -> Judged:
    files = read_files(reader, path, environ=environ, instead=instead)
    reader.alone = not files.complete
    for top in files.tops:
        check_top(reader, top)
        check_supervisor(reader, reader.table(top, "supervisor"))
        check_control(reader, reader.table(top, "control"))
    workers = Workers(reader, files.tops)
    top = reduce(merge, files.tops)
    settings = read_settings(reader, top, file=path, environ=environ, as_root=as_root)
    settings = replace(settings, secrets=files.secrets)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    specs = workers.specs(settings, as_root=as_root, credentials=credentials)
    check_names(reader, top, {spec.pool: workers.tables[spec.pool] for spec in specs})
    configuration = Configuration(settings, tuple(specs))
    warn(
        reader,
        configuration,
        workers,
        documents=files.documents,
        as_root=as_root,
    )
    return Judged(
        configuration=configuration,
        warnings=in_order(reader.warnings, files.names),
        files=files.names,
        documents=files.documents,
        tables=workers.tables,
    )
