"""The command line as `python -m tutor`, where no `tutor` is on the PATH."""

import sys

from tutor.cli import main

if __name__ == "__main__":
    sys.exit(main())
