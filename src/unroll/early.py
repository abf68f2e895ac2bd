"""A command imports this before all else: as long as there is nothing to lose, Ctrl-C ends it at once, without a word.

Python's own way, an exception between any two instructions, would show a traceback of whatever is being imported.
`unroll.interrupts.stoppable` is for what must be ended in order. A SIGINT that is ignored stays ignored.
"""

import _signal  # type: ignore[import-not-found]  # there at once, while `signal` imports for milliseconds

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
