"""`python -m mockserver` is `mockserver`."""

import sys

from mockserver.cli.main import main

sys.exit(main())
