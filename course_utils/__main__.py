"""`python -m course_utils`: see `course_utils.cli`."""

import sys

NEEDED = (
    "Fewer Bits needs Python 3.11 or newer, this is {}.{}; install one and make the "
)
NEEDED += "environment again with it."

# Before any other import, and in words that an old Python can parse.
if sys.version_info < (3, 11):  # noqa: UP036 -- for those who start it with another
    sys.exit(NEEDED.format(*sys.version_info[:2]))

from course_utils.cli import main  # noqa: E402 -- only after the check

if __name__ == "__main__":
    sys.exit(main())
