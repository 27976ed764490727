"""`python -m syncd` is `karaoke-syncd`."""

import sys

from syncd.cli import main

sys.exit(main())
