"""What a student may read of a check that failed.

Of a visible check: all of it. Of one that is not shown: the hint, which is the first
line. What follows it, and the text of the student's own error, can hold the input.
"""

import re

RAISED = re.compile(r"your function raised (\w+)")
UNUSABLE = "what your function returned could not be used"
LONGEST = 600


def title(check: str) -> str:
    """Return the name of a check in words."""
    return check.removeprefix("check_").replace("_", " ")


def hint(check: dict) -> str:
    """Return what the student reads of a failed check of a line; "" if it passed."""
    message = str(check["message"])
    if check["hidden"]:
        message = message.partition("\n")[0]
        if raised := RAISED.match(message):
            message = f"{raised[0]}."
        elif message.startswith(UNUSABLE):
            message = f"{UNUSABLE}."
    return message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
