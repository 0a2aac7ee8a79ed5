"""`python -m flowcontract`: the command `flowcontract`."""

import sys

from flowcontract.cli import main

if __name__ == "__main__":
    sys.exit(main())
