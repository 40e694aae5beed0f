"""Starting one command, in named stages.

Stages, in order: "log" (pipes), "notify" (the voice), "cgroup", "socket", "events"
(stdin), "session", "secret" (secret_stage.py), "umask", "nice", "limits", "capabilities",
"groups", "group", "user", "no_new_privs" (privileges.py), "directory", "exec"; "fork" when no
process could be made at all. The error of a stage says which, why and whether a retry can help. In
a forked child the failing stage is put into words where it fails (there the directory and the user
are the worker's), and comes back over a pipe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from supervisord_lite.base.plain_signals import change_mask, restore_defaults
from supervisord_lite.base.secret_file import SecretError
from supervisord_lite.keeper import privileges, secret_stage
from supervisord_lite.keeper.out_of_memory import is_spared, spare_no_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from supervisord_lite.keeper.calls import Calls

_DEFAULTS = tuple(set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP})
#: Name as in the file -> number for setrlimit(2).
LIMITS = {
    name[7:].lower(): getattr(resource, name) for name in dir(resource) if name[:7] == "RLIMIT_"
}
#: Variables that are the daemon's own business.
_DAEMON_ONLY = ("NOTIFY_", "LISTEN_", "WATCHDOG_")
_DAEMON_ONLY_NAMES = ("CREDENTIALS_DIRECTORY", "INVOCATION_ID", "MANAGERPID", "SYSTEMD_EXEC_PID")
_NO_PROCESS = (errno.EAGAIN, errno.ENOMEM)


class StageError(Exception):
    """A set-up stage failed.

    Attributes:
        stage: Its name.
        reason: For people, with the path or name concerned.
        missing: A file or folder is not there.
        hopeless: No retry can heal it.
    """

    def __init__(
        self, stage: str, reason: str, *, missing: bool = False, hopeless: bool = False
    ) -> None:
        """Take all that will be told."""
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
        self.missing = missing
        self.hopeless = hopeless

    def pack(self) -> dict[str, Any]:
        """Return what makes it anew."""
        names = ("stage", "reason", "missing", "hopeless")
        return {name: getattr(self, name) for name in names}


def cause(error: OSError) -> str:
    """Return why a system call failed, for people: our own shortage is named as ours."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "the daemon has no descriptor left (LimitNOFILE= of the unit, or ulimit -n)"
    return os.strerror(error.errno or 0)


class CannotCloneError(Exception):
    """Nothing can be born in a cgroup here: the keeper must step into it."""


class Launcher:
    """Starts commands with the daemon's own cleaned environment as a base.

    Attributes:
        null: Descriptor of /dev/null.
    """

    def __init__(
        self,
        calls: Calls,
        environment: dict[str, str],
        nofile_soft: int,
        nulls: Sequence[int] = (),
    ) -> None:
        """Prepare.

        Args:
            calls: The seam.
            environment: The daemon's environment.
            nofile_soft: RLIMIT_NOFILE's soft limit before the keeper raised its own; workers get
                this one.
            nulls: As another one has packed them; low numbers are taken by now.
        """
        self._calls = calls
        self._base = {
            name: value
            for name, value in environment.items()
            if not name.startswith(_DAEMON_ONLY) and name not in _DAEMON_ONLY_NAMES
        }
        self.credentials = environment.get("CREDENTIALS_DIRECTORY")
        self._nofile = nofile_soft
        self._is_spared = is_spared(calls)
        self.null, *low = nulls or (calls.open("/dev/null", os.O_RDWR | os.O_CLOEXEC),)
        # posix_spawn refuses to copy descriptors above the soft limit, which is the worker's for
        # the moment of the spawn; so outputs are copied to these low ones first.
        missing = range(4 - len(low))
        self._low = (*low, *(calls.fcntl(self.null, fcntl.F_DUPFD_CLOEXEC, 3) for _ in missing))

    def pack(self, keep: Callable[[int], int]) -> list[int]:
        """Return the descriptors of /dev/null, the low ones behind the first, for a successor."""
        return [keep(number) for number in (self.null, *self._low)]

    def environment_of(self, changes: list[tuple[str, str | None]]) -> dict[str, str]:
        """Return the environment of one worker: the base with *changes*; None unsets."""
        environment = dict(self._base)
        for name, value in changes:
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return environment

    def launch(
        self, request: dict[str, Any], files: dict[int, int], cgroup: int = -1
    ) -> tuple[int, int]:
        """Start the process; return its pid and the set-up pipe to watch (-1: it runs already).

        Args:
            request: argv, directory, environment, umask, nice, identity, rlimits, secrets.
            files: Where it finds a descriptor -> ours; -1 means /dev/null.
            cgroup: Descriptor of a cgroup to be born in; -1: the keeper's present one.

        Raises:
            StageError: Nothing was started.
            CannotCloneError: Nothing was started; try again without *cgroup*.
        """
        environment = self.environment_of(request["environment"])
        given = {to: self.null if fd < 0 else fd for to, fd in files.items()}
        files = {0: self.null, **given}
        if request.get("secrets"):
            places = self._secret_places(request)
            request = {**request, "secret_places": places, "keeper": os.getpid()}
            return self._fork(request, environment, files, cgroup)  # nobody else reads them
        if request.get("sockets"):
            return self._fork(request, environment, files, cgroup)  # LISTEN_PID is the child's
        changes = ("identity", "nice", "rlimits", "privileges")
        if cgroup >= 0 or any(request.get(name) for name in changes):
            return self._fork(request, environment, files, cgroup)
        pid = self._vfork(request, environment, files)
        self.has_begun(pid)
        return pid, -1

    def has_begun(self, pid: int) -> None:
        """Its program runs: from now on the kernel may choose it where memory is short."""
        if self._is_spared:
            spare_no_more(self._calls, pid)

    def _secret_places(self, request: dict[str, Any]) -> list[tuple[str, str]]:
        try:
            return secret_stage.places(request, self.credentials)
        except SecretError as error:
            raise _secret_failed(error) from None

    # -- vfork: the keeper takes on directory, umask and limit for the moment of the spawn --------

    def _vfork(
        self, request: dict[str, Any], environment: dict[str, str], files: dict[int, int]
    ) -> int:
        try:
            self._calls.chdir(request["directory"])
        except OSError as error:
            raise _failed("directory", error, request["directory"]) from None
        umask = self._calls.umask(request["umask"])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            given = (to for to, fd in files.items() if fd != self.null)
            low = dict(zip(given, self._low, strict=False))
            for to, fd in low.items():
                os.dup2(files[to], fd, inheritable=False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(self._nofile, hard), hard))
            return self._spawn(request["argv"], environment, {**files, **low})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in self._low:
                os.dup2(self.null, fd, inheritable=False)
            self._calls.umask(umask)
            self._go_home()

    def _go_home(self) -> None:
        try:
            self._calls.chdir("/")
        except OSError:
            return  # the next spawn goes where it wants from anywhere; a pid must not be lost here

    def _spawn(self, argv: list[str], environment: dict[str, str], files: dict[int, int]) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in files.items()]
        error: OSError | None = None
        paths = candidates(argv[0], environment)
        for path in paths:
            try:
                return self._calls.posix_spawn(
                    path,
                    argv,
                    environment,
                    file_actions=actions,
                    setsid=True,
                    setsigmask=(),
                    setsigdef=_DEFAULTS,
                )
            except OSError as failure:
                if error is None or failure.errno not in (errno.ENOENT, errno.ENOTDIR):
                    error = failure
                if failure.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    break
            except ValueError as failure:  # a NUL byte
                raise StageError(stage="exec", reason=str(failure), hopeless=True) from None
        raise _exec_failed(error, argv[0], paths)

    # -- fork: stages in Python, the name of the failed one comes over a pipe ---------------------

    def _fork(
        self,
        request: dict[str, Any],
        environment: dict[str, str],
        files: dict[int, int],
        cgroup: int,
    ) -> tuple[int, int]:
        try:
            report, reporter = self._calls.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _failed("fork", error, "pipe") from None
        everything = set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}
        mask = change_mask(signal.SIG_BLOCK, everything)
        try:
            pid = self._calls.fork() if cgroup < 0 else self._calls.fork_into(cgroup)
        except OSError as error:
            self._calls.close(report)
            if cgroup >= 0 and error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
                raise CannotCloneError from None
            raise _failed("fork", error, "fork") from None
        else:
            if pid == 0:
                calls = self._calls if self._is_spared else None
                _set_up(request, environment, files, reporter, self._nofile, calls)
        finally:
            change_mask(signal.SIG_SETMASK, mask)
            self._calls.close(reporter)
        return pid, report


def candidates(name: str, environment: dict[str, str]) -> list[str]:
    """Return the paths to try for argv[0]; of PATH only those that exist, so perhaps none."""
    if "/" in name:
        return [name]
    folders = environment.get("PATH", os.defpath).split(":")
    paths = [f"{folder or '.'}/{name}" for folder in folders]
    return [path for path in paths if os.path.exists(path)]


def _set_up(
    request: dict[str, Any],
    environment: dict[str, str],
    files: dict[int, int],
    reporter: int,
    nofile: int,
    spared: Calls | None,
) -> NoReturn:
    """Run the stages in the child, then exec. Never returns, never raises.

    *spared*: the seam, where the kernel is told to choose others than this process.
    """
    stage = "log"
    secrets = secret_stage.Values()
    try:
        # Before any limit: a low one on descriptors would be in the way. By way of high numbers:
        # no source is overwritten by another one's target.
        top = max(10, *files) + 1
        high = {to: fcntl.fcntl(fd, fcntl.F_DUPFD, top) for to, fd in files.items()}
        for to, fd in high.items():
            os.dup2(fd, to, inheritable=True)
            os.close(fd)
        _name_sockets(request, environment)
        stage = "session"
        restore_defaults(_DEFAULTS)
        os.setsid()
        if request.get("secrets"):
            stage = "secret"
            # What has let go of the lock must end with the keeper: see traces.py.
            secret_stage.end_with(request["keeper"])
            secret_stage.let_go({*files, reporter})
            secrets.bring(request, request["secret_places"])
            environment.update(secrets.variables)
        stage = "umask"
        os.umask(request["umask"])
        stage = "nice"
        if request["nice"]:
            os.nice(request["nice"])
        stage = "limits"
        if spared is not None:
            spare_no_more(spared)
        _limit(request["rlimits"], nofile)
        for stage in privileges.give_up(request):  # noqa: B007  # told where one fails
            pass
        if request.get("secrets"):
            secret_stage.end_with(request["keeper"])  # another user: the kernel has forgotten it
        stage = "directory"
        os.chdir(request["directory"])
        stage = "exec"
        if request.get("secrets"):
            secret_stage.end_with(None)
        change_mask(signal.SIG_SETMASK, ())
        _exec(request["argv"], environment)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the parent must hear of it
        told = error if isinstance(error, StageError) else _in_words(stage, error, request)
        reason = secrets.masked(told.reason)
        text = f"{told.stage}\0{told.missing:d}{told.hopeless:d}\0{reason}"
        os.write(reporter, text.encode(errors="replace")[:4000])
    finally:
        os._exit(127)


def _name_sockets(request: dict[str, Any], environment: dict[str, str]) -> None:
    """Say which sockets there are, as sd_listen_fds(3) has it: those from 3 on without a gap."""
    names = {each["fd"]: each["name"] for each in request.get("sockets", ())}
    count = 0
    while 3 + count in names:
        count += 1
    if count:
        environment["LISTEN_PID"] = str(os.getpid())
        environment["LISTEN_FDS"] = str(count)
        environment["LISTEN_FDNAMES"] = ":".join(names[3 + number] for number in range(count))


def _limit(limits: list[tuple[str, int | None]], nofile: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(nofile, hard), hard))
    for name, value in limits:
        number = resource.RLIM_INFINITY if value is None else value
        try:
            resource.setrlimit(LIMITS[name], (number, number))
        except (ValueError, OverflowError) as error:
            reason = f"{name} = {'unlimited' if value is None else value}: {error}"
            raise StageError("limits", reason, hopeless=True) from None


def limit_from_outside(calls: Calls, pid: int, left: dict[str, Any]) -> None:
    """Set for a child of ours what it may not set itself: it has given up the right to.

    Args:
        calls: The seam.
        pid: Its.
        left: nice, and rlimits as (number, value); None: unlimited.

    Raises:
        StageError: We may not either.
    """
    try:
        if left["nice"]:
            nice = os.getpriority(os.PRIO_PROCESS, 0) + left["nice"]
            calls.setpriority(os.PRIO_PROCESS, pid, max(-20, min(19, nice)))
    except ProcessLookupError:
        return  # it has ended: that is told as its exit
    except OSError as error:
        raise _failed("nice", error, str(left["nice"])) from None
    for number, value in left["rlimits"]:
        wanted = resource.RLIM_INFINITY if value is None else value
        try:
            calls.prlimit(pid, number, (wanted, wanted))
        except ProcessLookupError:
            return
        except (OSError, ValueError, OverflowError) as error:
            name = next(name for name, each in LIMITS.items() if each == number)
            why = cause(error) if isinstance(error, OSError) else error
            reason = f"{name} = {'unlimited' if value is None else value}: {why}"
            raise StageError("limits", reason, hopeless=True) from None


def _exec(argv: list[str], environment: dict[str, str]) -> None:
    error: OSError | None = None
    paths = candidates(argv[0], environment)
    for path in paths:
        try:
            os.execve(path, argv, environment)
        except OSError as failure:
            if error is None or failure.errno not in (errno.ENOENT, errno.ENOTDIR):
                error = failure
            if failure.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                break
    raise _exec_failed(error, argv[0], paths)


def read_report(data: bytes) -> StageError:
    """Return the error that a child's set-up pipe told: what came before its end, not empty."""
    stage, flags, reason = data.decode(errors="replace").split("\0", 2)
    return StageError(stage, reason, missing=flags[0] == "1", hopeless=flags[1] == "1")


def _in_words(stage: str, error: BaseException, request: dict[str, Any]) -> StageError:
    """Return the error of a stage of set-up, with the name that it is about."""
    if isinstance(error, SecretError):
        return _secret_failed(error)
    if not isinstance(error, OSError):
        return StageError(stage, str(error) or repr(error), hopeless=True)
    identity = request["identity"] or {"user": ""}
    user = identity["user"]
    subjects = {
        "directory": request["directory"], "groups": user, "group": user, "user": user,
        "nice": str(request["nice"]), "secret": request.get("folder") or stage,
    }  # fmt: skip
    return _failed(stage, error, subjects.get(stage, stage))


def _secret_failed(error: SecretError) -> StageError:
    reason = f"{error}: {error.hint}" if error.hint else str(error)
    return StageError("secret", reason, missing=error.missing, hopeless=error.hopeless)


def _failed(stage: str, error: OSError, subject: str) -> StageError:
    return StageError(
        stage,
        f"{cause(error)}: {subject}",
        missing=stage == "directory" and error.errno in (errno.ENOENT, errno.ENOTDIR),
    )


def _exec_failed(error: OSError | None, command: str, paths: list[str]) -> StageError:
    """Return the error of the last stage, with the current directory still the worker's."""
    if error is None or error.errno in (errno.ENOENT, errno.ENOTDIR):
        if any(os.path.exists(path) for path in paths):
            return StageError(
                stage="exec", reason=f"its interpreter is missing: {command}", missing=True
            )
        where = "" if "/" in command else " in PATH"
        return StageError(stage="exec", reason=f"no such file{where}: {command}", missing=True)
    if error.errno in _NO_PROCESS:
        return StageError(stage="fork", reason=os.strerror(error.errno))
    reason = cause(error)
    if error.errno == errno.ENOEXEC:
        reason = "not a program; a script begins with #! and its interpreter"
    # The same words and limits meet the kernel again, whenever that is.
    return StageError("exec", f"{reason}: {command}", hopeless=error.errno == errno.E2BIG)
