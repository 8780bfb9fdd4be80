"""The command `biglearn`, as `python -m biglearn_core`."""

import sys

from biglearn_core.command.main import main

if __name__ == "__main__":
    sys.exit(main())
