"""Every error this package raises on purpose.

    TFGRPOError
    ├── SettingsError        an argument that cannot be used        (also a ValueError)
    ├── DataError            examples, a file or a column           (also a ValueError)
    ├── LibraryFormatError   a damaged or foreign library file      (also a ValueError)
    ├── HistoryError         a commit that is not there, or a damaged history file (also a ValueError)
    ├── StoreError           a run's folder that is in use, damaged or of another run
    ├── ProgramError         a program that cannot be found or conditioned (also a ValueError)
    ├── MetricError          a metric that raised or returned no reward
    ├── RequestError         what is asked of an LM can never succeed: key, credit, model, parameter, address
    ├── TooManyErrors        more examples went wrong than `max_errors` tolerates
    │   └── EveryRolloutFailed   no rollout of a step came through
    ├── BudgetError          a budget that did not allow a single rollout of an evaluation
    ├── ReviewStop           a reviewer ended the run before a step's operations were applied
    ├── MissingExtraError    an optional package is not installed   (also an ImportError)
    └── RunStopped           a run ended before its last step; carries what was learned

A run that one of them stops raises `RunStopped` from it.
"""

from __future__ import annotations

from asyncio import CancelledError

OF_PROGRAMS = (Exception, SystemExit, CancelledError)
"""What code of users raises: that a tool asks the process to exit, or a coroutine was cancelled, is but its failure."""


class TFGRPOError(Exception):
    """Base of all errors raised by this package; its message is one sentence that says how to mend it."""


class SettingsError(TFGRPOError, ValueError):
    """An argument of an optimizer, an evaluation or a command cannot be used."""


class DataError(TFGRPOError, ValueError):
    """A dataset, an example or a column cannot be used."""


class LibraryFormatError(TFGRPOError, ValueError):
    """A library file is damaged or is no library; the message names the file and the field."""


class HistoryError(TFGRPOError, ValueError):
    """A history has no such commit or experience, or its file is damaged or does not fit the library beside it."""


class StoreError(TFGRPOError):
    """A run's folder is in use, damaged, or belongs to a run with other settings; the message says which."""


class ProgramError(TFGRPOError, ValueError):
    """A program reference cannot be loaded, or has nothing that could read a library."""


class MetricError(TFGRPOError):
    """A metric raised, or returned something that is not a finite reward."""


class RequestError(TFGRPOError):
    """No call like this one can succeed, so the run stops; the message says what was said and what to change."""


class TooManyErrors(TFGRPOError):
    """More examples went wrong than `max_errors` tolerates; the message names them and lists the causes."""


class EveryRolloutFailed(TooManyErrors):
    """No rollout of a step came through, so that there is nothing to learn from; the message says why not."""


class BudgetError(TFGRPOError):
    """A budget was used up before a single rollout of an evaluation; the message says which cap."""


class ReviewStop(TFGRPOError):
    """A reviewer ended the run before the operations of a step were applied; it can be taken up there again."""


class MissingExtraError(TFGRPOError, ImportError):
    """An optional package is needed; the message shows the `pip install` line."""
