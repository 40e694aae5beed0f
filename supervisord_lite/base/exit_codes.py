"""Exit codes: part of the interface, used by unit files and scripts (README, "Exit codes").

Plain integers and no enum: the keeper imports this module and stays small. README's table is made
from the comments behind them.
"""

# Of every verb.
OK = 0  #: done
FAILED = 1  #: understood, and did not succeed; the reason is on stderr
USAGE = 2  #: wrong usage
NO_DAEMON = 3  #: no daemon answers on the control socket
NO_SUCH_WORKER = 4  #: no such worker
NOT_PERMITTED = 5  #: not permitted
GAVE_UP = 6  #: gave up waiting; the daemon goes on with what it was told

# Of `run` (sysexits.h has the numbers); 0: stopped as asked.
INTERNAL_ERROR = 70  #: internal error
CRITICAL_WORKER = 75  #: a critical worker failed; systemd starts the service again
NO_PERMISSION = 77  #: no permission, or another daemon holds the folders
CONFIGURATION = 78  #: configuration (also of `check`); systemd must not start the service again

#: What a supervisor may end with to end the whole daemon; anything else is a crash.
VERDICTS = (OK, CRITICAL_WORKER, NO_PERMISSION, CONFIGURATION)
