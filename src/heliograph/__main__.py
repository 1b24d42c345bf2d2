"""python -m heliograph: the same as the command `heliograph`."""

import sys

from heliograph.cli import main

sys.exit(main())
