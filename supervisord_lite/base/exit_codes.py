"""Exit codes: part of the interface, used by unit files and scripts (README, "Exit codes").

Plain integers and no enum: the keeper imports this module and stays small.
"""

# Of every verb.
OK = 0
FAILED = 1  #: the verb was understood and did not succeed; the reason is on stderr
USAGE = 2
NO_DAEMON = 3  #: nobody answers on the control socket
NO_SUCH_WORKER = 4
NOT_PERMITTED = 5
GAVE_UP = 6  #: gave up waiting; the daemon goes on with what it was told

# Of `run` (sysexits.h has the numbers).
INTERNAL_ERROR = 70
CRITICAL_WORKER = 75  #: a critical worker failed; systemd starts the service again
NO_PERMISSION = 77  #: no permission, or another daemon holds the folders
CONFIGURATION = 78  #: also of `check`; systemd must not start the service again

#: What a supervisor may end with to end the whole daemon; anything else is a crash.
VERDICTS = (OK, CRITICAL_WORKER, NO_PERMISSION, CONFIGURATION)
