"""``python -m moby.cli``."""

import sys

from moby.cli.main import main

sys.exit(main())
