"""A place to run model-written Python where it can harm nothing: one fresh process per call, bounded in everything.

`Sandbox` picks bubblewrap, else DSPy's interpreter on Deno, else it refuses and says what to install.
"""

from programs.sandbox.limits import Limits, Result, SandboxError
from programs.sandbox.runner import Sandbox

__all__ = ["Limits", "Result", "Sandbox", "SandboxError"]
