"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """Bad input, said in one sentence: what is wrong and what to do about it.

    Launchers print the sentence and exit with status 2, without a traceback.
    """
