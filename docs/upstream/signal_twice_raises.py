"""A second SIGTERM during the shutdown raises, and does nothing.

The first begins the shutdown, which waits for a Deferred: for connections to end, say.
The second is how people say that they will not wait; it logs ``ReactorNotRunning`` with a
traceback, and the waiting goes on. It should at least be no error; better, it should end
the waiting.
"""

import os
import signal

from twisted.internet import reactor, task
from twisted.logger import LogLevel, globalLogPublisher

signal.alarm(10)
levels = []
globalLogPublisher.addObserver(lambda event: levels.append(event["log_level"]))
reactor.addSystemEventTrigger("before", "shutdown", lambda: task.deferLater(reactor, 0.3))
reactor.callLater(0, os.kill, os.getpid(), signal.SIGTERM)
reactor.callLater(0.1, os.kill, os.getpid(), signal.SIGTERM)
reactor.run()
errors = levels.count(LogLevel.critical)
print("defect:" if errors else "mended:", errors, "errors in the log for the second SIGTERM")
