"""A process of two that save, look and decide together; `test_parallel` starts them.

python -m tests.runs.processes PORT NUMBER FOLDER
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from dancejax.errors import UserError
from dancejax.runs import checkpoint, parallel


def main(port: str, number: int, folder: Path) -> None:
    parallel.start(f"127.0.0.1:{port}", 2, number)
    tree = {"w": jnp.arange(3.0)}
    for step in (1, 2):
        if number:  # the first process has written by the time that this one comes
            time.sleep(2)
        checkpoint.save_step(folder, step, tree, {"a": 1})
    checkpoint.save_step(folder, 2, tree, {"a": 1})  # there already, for both
    saved = checkpoint.latest_step(folder, tree, {"a": 1})
    assert saved is not None and saved.step == 2
    assert parallel.primary_says(lambda: ["only", "the", "first", number]) == [
        "only", "the", "first", 0,
    ]  # fmt: skip
    try:
        checkpoint.latest_step(folder, tree, {"a": 2})
    except UserError as error:
        print(f"refused {'another run' in str(error)}")
    agree = parallel.Agreement(0, seconds=0.01)
    largest = []
    for step in range(1, 200):
        time.sleep(0.002)
        (answer,) = agree(step, lambda step=step: number * step)
        largest += [answer] if answer else []
    print(f"agreed {len(largest)} {sum(largest)}")
    parallel.barrier("end")
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
