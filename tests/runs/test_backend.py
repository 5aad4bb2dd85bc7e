"""What a process keeps of its memory."""

import subprocess
import sys

import pytest

PROGRAM = """
import psutil
from dancejax.runs import backend
backend.tune_allocator()
rss = lambda: psutil.Process().memory_info().rss / 2**20
held = [bytearray(10_000) for _ in range(30_000)]
full = rss()
del held[:-1]  # the last one keeps the heap from shrinking at its end
kept = rss()
backend.return_memory()
print(full, kept, rss())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what glibc keeps")
def test_memory_that_is_free_is_returned():
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    full, kept, after = map(float, said.stdout.split())
    assert kept > full - 50 and after < full - 200  # 290 MB were freed
