"""The keeper's entrance: `run` replaces itself by this, in the same process; so does a keeper."""

from __future__ import annotations

import os

from supervisord_lite.keeper.way_back import go_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.keeper.calls import Calls


def main(arguments: list[str], calls: Calls | None = None) -> int:
    """Keep until the daemon ends; return its exit code.

    Args:
        arguments: The descriptor that `boot.prepare` or the keeper before this one has made; and
            why another one could not go on with that, where it is the way back.
        calls: The seam; tests give another one.
    """
    descriptor, *refused = arguments
    try:
        # Here, for they may fail: whatever is wrong with this code, there may be a way back.
        from supervisord_lite.base import prctl
        from supervisord_lite.keeper.calls import Calls as RealCalls
        from supervisord_lite.keeper.entrance import enter

        prctl.become_subreaper()
        prctl.protect()
        prctl.set_name("sdl-keeper")
        os.chdir("/")
        os.umask(0o022)
        keeper, boot = enter(calls or RealCalls(), int(descriptor), "".join(refused))
    except Exception as error:
        if not refused:
            go_back(int(descriptor), error)
        raise
    code = keeper.run()
    for path in boot.remove:
        try:
            if keeper.may_remove(path):
                os.unlink(path)
        except OSError:
            continue  # somebody tidied up before us
    return code
