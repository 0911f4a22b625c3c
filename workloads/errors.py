"""The one error that means "the user's input is wrong"."""


class InputError(ValueError):
    """Say in one sentence what is wrong, where, and what would be right.

    The command line prints the message as it is and exits with code 2.
    """
