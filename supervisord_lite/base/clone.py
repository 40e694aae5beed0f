"""A fork whose child is born in a cgroup: clone3(2) with CLONE_INTO_CGROUP.

To move a process between cgroups the kernel waits for the whole machine to pass a quiet point, some
ten milliseconds when nobody has moved anything for a while. A child that is born in its cgroup
waits for nothing. Since Linux 5.7.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

_SYS_CLONE3 = 435  # the same number on every architecture
_CLONE_INTO_CGROUP = 0x2_0000_0000
_ARGUMENTS = struct.Struct("11Q")

# PyDLL keeps the interpreter's lock over the call: the child has it too, and its only thread.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def fork_into(cgroup: int) -> int:
    """Fork like os.fork, with the child in the cgroup whose folder is open as *cgroup*.

    The child must only make system calls and exec: the after-fork work of Python and of the C
    library was not done. With a second thread that would hang (setuid waits for every thread that
    the library believes in), so a process that has one is refused.

    Raises:
        OSError: As fork(2); ENOSYS where there are threads, ENOSYS or EPERM where the kernel or a
            filter does not know the call.
    """
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208  # no pathlib in the keeper
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fields = (_CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup)
    arguments = ctypes.create_string_buffer(_ARGUMENTS.pack(*fields), _ARGUMENTS.size)
    pid: int = _libc.syscall(
        ctypes.c_long(_SYS_CLONE3), arguments, ctypes.c_size_t(_ARGUMENTS.size)
    )
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid
