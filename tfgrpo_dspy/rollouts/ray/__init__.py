"""Rollouts on Ray, for programs whose tools need more than one machine: `pip install 'tfgrpo-dspy[ray]'`.

A worker is a process of the cluster that makes several rollouts at once, in threads (`worker`). The run stays where it
was started: it deals out rollouts, makes those of a worker that dies again elsewhere (`cluster`), and has the one
account: every call of a worker is lent by it, and given back when it is known what it took (`account`).

Every node needs this package, DSPy and Python in the versions used here; code of the user's that is not an installed
package travels along by value.
"""
