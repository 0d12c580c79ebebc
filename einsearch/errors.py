"""The one exception type of this package's boundary."""


class EinsearchError(Exception):
    """Input or environment that a person can mend.

    The message is one line that names the value, the rule it breaks and the fix. The command line
    prints it and exits with code 2; anything else that is raised is a bug and keeps its traceback.
    """
