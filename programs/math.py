"""The students of `programs.math_solver` under the short name of their domain: `programs.math:react`."""

if __name__ == "math":  # this folder comes first on the path of a script in it, and hides Python's own module
    raise ImportError("programs/math.py is in the way of Python's math: run `python -m programs.<name>`, not the file")

from programs.math_solver import direct, react

__all__ = ["direct", "react"]
