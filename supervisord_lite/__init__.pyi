# What type checkers see of the package; imported only when it is asked for.
from supervisord_lite.manager import AlreadyRunning as AlreadyRunning
from supervisord_lite.manager import CircuitBreakerTripped as CircuitBreakerTripped
from supervisord_lite.manager import CriticalWorkerFailed as CriticalWorkerFailed
from supervisord_lite.manager import DaemonFailed as DaemonFailed
from supervisord_lite.manager import InvalidWorker as InvalidWorker
from supervisord_lite.manager import Manager as Manager
from supervisord_lite.manager import ManagerError as ManagerError
from supervisord_lite.manager import WorkerOptions as WorkerOptions
from supervisord_lite.manager import WorkerStopped as WorkerStopped

__version__: str
__all__: list[str]
