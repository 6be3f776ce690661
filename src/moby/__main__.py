"""``python -m moby``."""

import sys

from moby.cli.main import main

sys.exit(main())
