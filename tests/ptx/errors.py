"""What the emulator objects to: one class a kind of fault, so that a test can name it."""


class PtxError(Exception):
    """Any fault found in a PTX text or while it runs."""


class ParseError(PtxError):
    """The text is not PTX that this emulator knows; the message names the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class ArgumentError(PtxError):
    """A kernel argument does not fit its parameter."""


class ExecutionError(PtxError):
    """A fault of a running kernel; the message ends with the instruction and its line."""


class BoundsError(ExecutionError):
    """An access outside every allocation, or to the wrong kind of memory."""


class AlignmentError(ExecutionError):
    """An address that is not a multiple of the size of the access."""


class UninitializedError(ExecutionError):
    """A value that nobody wrote reached an address, a branch, an atomic or global memory."""


class RaceError(ExecutionError):
    """Two threads touched a byte, one of them writing, and nothing orders them."""


class DeadlockError(ExecutionError):
    """Threads wait for others that never come."""


class WarpSyncError(ExecutionError):
    """A warp-wide instruction with a wrong member mask or source lane."""


class StepLimitError(ExecutionError):
    """The kernel ran for longer than the launch allows."""
