"""``python -m videossl``."""

import sys

from videossl.cli import main

sys.exit(main())
