"""What a simulation raises when a promise is broken."""


class BrokenPromiseError(AssertionError):
    """A promise was broken; the message says which and how."""
