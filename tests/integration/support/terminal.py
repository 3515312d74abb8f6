"""A person at a terminal: runs a program on a pty of 33 lines by so many columns. Each step waits for a text in what was printed
since the step before, and types a line; a step that types null makes the terminal 44 lines by 122 columns instead. ANSWER_AFTER: how many seconds each answer takes."""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

steps, columns, program = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
deadline = time.monotonic() + 90


def resize(lines, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


pid, terminal = pty.fork()
if pid == 0:
    # The size is there before the program is.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, columns, 0, 0))
    os.execvp(program[0], program)

seen = ""
while True:
    while steps and steps[0][0] in seen:
        wanted, line = steps.pop(0)
        seen = seen.split(wanted, 1)[1]
        if line is None:
            resize(44, 122)
        else:
            time.sleep(float(os.environ.get("ANSWER_AFTER", "0")))
            # Ctrl-C needs no end of a line.
            os.write(terminal, line.encode() + (b"" if line == "\x03" else b"\n"))
    if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        sys.exit(f"no {steps[:1]} in time")
    try:
        printed = os.read(terminal, 1 << 16)
    except OSError:
        break
    if not printed:
        break
    sys.stdout.buffer.write(printed)
    sys.stdout.flush()
    seen += printed.decode(errors="replace")

code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(f"ended before {steps[0]}" if steps else code)
