"""`python -m contract_tests`: the command `contract-tests`."""

import sys

from contract_tests.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
