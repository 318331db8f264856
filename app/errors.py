"""The base of every intended failure: what went wrong, where, and what to do about it."""


class GpuledgerError(Exception):
    """A failure that a user or a caller can act on.

    The message is one sentence that says what failed and where; ``hint`` says what to do.
    Subclasses live in the module that raises them and carry the facts as attributes.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(GpuledgerError):
    """Something the user gave is unusable: an argument, a file, a setting. None of it was taken."""
