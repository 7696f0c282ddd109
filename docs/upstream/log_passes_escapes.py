"""The text log passes a peer's control characters on to the terminal.

``textFileLogObserver`` indents after a line feed, so that nobody can forge a line, but
passes ESC: whoever can put a string in a log line can, on the terminal of whoever reads
it, hide lines, retitle the window and more. Control characters should be escaped.
"""

import io

from twisted.logger import Logger, textFileLogObserver

text = io.StringIO()
Logger(observer=textFileLogObserver(text)).info("user {name} logged in", name="\x1b[2Jroot")
line = text.getvalue()
print("defect:" if "\x1b" in line else "mended:", "the log has", ascii(line.partition("] ")[2]))
