"""Makes `python -m flowcontract.lint` a command."""

import sys

from flowcontract.lint.cli import main

sys.exit(main())
