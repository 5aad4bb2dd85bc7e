"""What the loaders say on stderr, each sentence once a process."""

import functools
import sys

from dancejax.text import printable


def say_once(sentence: str) -> None:
    """Print a sentence to stderr unless this process has printed it before."""
    _say(printable(sentence))


@functools.cache
def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
