"""Starts a launcher command again and again, each in a fork of one process that has imported
everything, and kills it at a random moment, so many times.

Reads JSON {"command": [...], "kills": N, "longest": seconds, "seed": n} from standard input; prints
{"kills": N, "status": last exit status, "stderr": of the last}.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time

from . import forker


def main(command: list[str], kills: int, longest: float, seed: int) -> dict[str, object]:
    rng = random.Random(seed)
    killed = 0
    status, text = 0, ""
    for _ in range(kills):
        with tempfile.TemporaryFile("w+") as output:
            child = forker.start(command, output.fileno(), output.fileno())
            time.sleep(rng.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            text = output.read()
        if status != -signal.SIGKILL:
            break  # an error, or done before its time: the test says so
        killed += 1
    return {"kills": killed, "status": status, "stderr": text[-2000:]}


if __name__ == "__main__":
    print(json.dumps(main(**json.load(sys.stdin))))
