"""The one exception that means "the user can fix this"."""

from dancejax.text import printable


class UserError(Exception):
    """Bad input, said in one sentence: what is wrong and what to do about it.

    Launchers print the sentence and exit with status 2, without a traceback. Names in it may be
    any: what cannot be printed is replaced.
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(printable(str(sentence)))
