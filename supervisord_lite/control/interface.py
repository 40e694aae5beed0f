"""Names of the interfaces, their texts, and which methods take which parameters."""

import os
from collections.abc import Mapping

MANAGER = "io.supervisordlite.Manager"
SERVICE = "org.varlink.service"

NO_SUCH_WORKER = f"{MANAGER}.NoSuchWorker"
NOT_PERMITTED = f"{MANAGER}.NotPermitted"
REFUSED = f"{MANAGER}.Refused"
CONFIGURATION_REFUSED = f"{MANAGER}.ConfigurationRefused"
FAILED = f"{MANAGER}.Failed"
MALFORMED = f"{MANAGER}.Malformed"

INTERFACE_NOT_FOUND = f"{SERVICE}.InterfaceNotFound"
METHOD_NOT_FOUND = f"{SERVICE}.MethodNotFound"
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"
EXPECTED_MORE = f"{SERVICE}.ExpectedMore"

#: What every varlink service has. Source: https://varlink.org/Service.
SERVICE_DESCRIPTION = """\
# Every varlink service has this interface.
interface org.varlink.service

# Who serves, and which interfaces.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The definition of one interface.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()

# The method has several replies, and was not called with `more`.
error ExpectedMore ()
"""


def manager_description() -> str:
    """Return the definition of the daemon's interface, as it is shipped in the package."""
    # No pathlib: it would cost the always-running supervisor a megabyte.
    path = os.path.join(os.path.dirname(__file__), f"{MANAGER}.varlink")  # noqa: PTH118, PTH120
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()


def methods_of(description: str) -> Mapping[str, tuple[str, ...]]:
    """Return the parameters' names of each method of a definition.

    This is no parser of varlink: it reads lines `method NAME(name: type, …)` whose parameters have
    types without parentheses, and a test holds the shipped definition to that.
    """
    methods: dict[str, tuple[str, ...]] = {}
    for line in description.splitlines():
        if line.startswith("method "):
            name, _, rest = line.removeprefix("method ").partition("(")
            inside = rest.partition(")")[0]
            parameters = (part.partition(":")[0].strip() for part in inside.split(","))
            methods[name.strip()] = tuple(parameter for parameter in parameters if parameter)
    return methods
