"""A clock that can be set, for this process alone.

Theory. Nothing on the machine may change, and no library may be needed, so the clock is shifted where
Python reads it: the functions of `time` are replaced, and those of `datetime` in its own type, in
place, so that every datetime stays one (a subclass would be foreign to pickles and databases). What
reads the clock in C without either (a database's `now()`) is not shifted, nor are monotonic clocks,
which timeouts rely on. The change is made before the app is imported: `from time import time` gets
the clock that can be set.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import gc
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_time = time.time
_time_ns = time.time_ns
_clock_gettime = time.clock_gettime
_clock_gettime_ns = time.clock_gettime_ns


class Clock:
    """The wall clock of this process.

    Attributes:
        offset_s: how far it is ahead of the machine's.
    """

    def __init__(self) -> None:
        self.offset_s = 0.0

    def install(self) -> None:
        """Make everything in this process read this clock."""
        time.time = lambda: _time() + self.offset_s
        time.time_ns = lambda: _time_ns() + int(self.offset_s * 1e9)
        time.clock_gettime = self._clock_gettime
        time.clock_gettime_ns = lambda clock: _clock_gettime_ns(clock) + int(self._of(clock) * 1e9)
        time.gmtime = _with_now(time.gmtime, time.time)
        time.localtime = _with_now(time.localtime, time.time)
        time.ctime = _with_now(time.ctime, time.time)
        strftime, localtime = time.strftime, time.localtime
        time.strftime = lambda form, *moment: strftime(form, *(moment or (localtime(),)))
        self._install_datetime()

    def _of(self, clock: int) -> float:
        return self.offset_s if clock == time.CLOCK_REALTIME else 0.0

    def _clock_gettime(self, clock: int) -> float:
        return _clock_gettime(clock) + self._of(clock)

    def _install_datetime(self) -> None:
        # `date.today` and `datetime.today` ask `time.time`; these two ask the system.
        kind = dt.datetime
        (members,) = gc.get_referents(kind.__dict__)
        for name in ("now", "utcnow"):
            members[name] = classmethod(self._shifted(members[name]))
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

    def _shifted(self, original: Any) -> Callable[..., dt.datetime]:
        def now(cls: type[dt.datetime], *args: Any, **named: Any) -> dt.datetime:
            moment: dt.datetime = original.__get__(None, cls)(*args, **named)
            # Without an offset the original's answer as it is: arithmetic on it costs its fold.
            return moment + dt.timedelta(seconds=self.offset_s) if self.offset_s else moment

        return now


def _with_now(original: Callable[..., Any], now: Callable[[], float]) -> Callable[..., Any]:
    # For functions whose argument is the moment, and whose default is the system's clock.
    def read(moment: float | None = None) -> Any:
        return original(now() if moment is None else moment)

    return read
