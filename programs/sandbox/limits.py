"""What model-written code may use, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tfgrpo_dspy import SettingsError, TFGRPOError

_LEAST_MEMORY_MB = 128  # numpy does not start with less


class SandboxError(TFGRPOError, ConnectionError):
    """The sandbox itself failed, whatever the code was: a rollout in which this happens is lost, never scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use; all defaults are ours.

    Raises:
        SettingsError: A limit with which nothing could run.
    """

    wall_seconds: float = 30.0
    """From start to end, waiting included; above `cpu_seconds`, because a busy machine is not the code's fault."""
    cpu_seconds: int = 10
    """Processor time of one process."""
    memory_mb: int = 1024
    """Address space of one process."""
    total_mb: int = 1024
    """Memory of all processes together; the run is ended soon after it has taken more. Runs at once are so many that
    these fit into half of the memory that is free."""
    processes: int = 8
    """Processes and threads at once, the interpreter included."""
    open_files: int = 64
    """File descriptors of one process."""
    file_mb: int = 16
    """Largest file that may be written."""
    scratch_mb: int = 64
    """All files together; they live in memory and go with the run."""
    scratch_files: int = 20_000
    """Files and folders; the run is ended soon after it has made more."""
    output_mb: int = 8
    """The run is ended when it has printed more than this."""
    output_chars: int = 8_000
    """What is kept of the output, half from its beginning and half from its end."""

    def __post_init__(self) -> None:
        for field in fields(self):
            least = _LEAST_MEMORY_MB if field.name == "memory_mb" else 0
            if not getattr(self, field.name) > least:
                raise SettingsError(f"{field.name} must be > {least}, got {getattr(self, field.name)!r}")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run."""

    stdout: str
    """What the code printed, on stdout and stderr, shortened in the middle to `Limits.output_chars`."""
    error: str
    """What went wrong, for the model to read: the exception and the lines it came from. Empty if nothing did."""
    timed_out: bool
    """The run was ended at `wall_seconds`, or at `cpu_seconds` of its first process."""
    truncated: bool
    """`stdout` is not all that was printed."""
    seconds: float
    """Wall-clock time."""

    @property
    def observation(self) -> str:
        """The result as a tool's answer: the output as it is, then the error."""
        parts = [self.stdout.rstrip("\n")] if self.stdout.strip() else []
        if self.error:
            parts.append(f"Error: {self.error}")
        return "\n".join(parts) or "(nothing was printed: print the values that you want to see)"
