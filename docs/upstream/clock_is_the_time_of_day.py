"""The reactor's timers run on the time of day, which somebody may set.

``reactor.seconds`` is ``time.time``. Where the clock is set back by an hour, every
``callLater`` comes an hour late; where it is set forward, every time-out is due at once.
Timers should run on ``time.monotonic``, as asyncio's do.
"""

import time

from twisted.internet import reactor

off_wall = abs(reactor.seconds() - time.time())
off_monotonic = abs(reactor.seconds() - time.monotonic())
print(
    "defect: timers run on time.time()"
    if off_wall < off_monotonic
    else "mended: timers run on time.monotonic()"
)
