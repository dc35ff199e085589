"""What goes wrong in a way that the user can mend."""


class InputError(Exception):
    """Bad usage or input: the command line prints it as one line and exits with 2.

    The message names the file or option, the reason and the remedy, in one line.
    """


class RunFailed(Exception):  # noqa: N818  (it names an outcome, not a programming error)
    """The work started and could not be finished: one line, exit code 1."""
