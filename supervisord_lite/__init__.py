"""supervisord_lite: one daemon that keeps a fleet of workers alive and never loses one.

The floors of the house; imports go down only, and a check in CI holds it::

    cli           parse, call, print; one file per command
    supervisor    the shell of the daemon: one loop, all policy applied
    control       socket server and client
    keeper | scribe | config
                  owns processes and descriptors | writes logs | TOML in, specs out
    wire          bytes <-> messages, sans-I/O, versioned
    core          pure: events in, (state, actions) out
    base          clocks, errors, exit codes, units

Nothing is imported here, because the always-running processes stay small.
"""

__version__ = "0.1.0.dev0"
