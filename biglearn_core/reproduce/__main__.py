"""The command `python -m biglearn_core.reproduce`."""

import sys

from biglearn_core.reproduce.run import main

if __name__ == "__main__":
    sys.exit(main())
