"""`python -m karaoke_train.cli` is `karaoke-train`; torchrun starts it so."""

import sys

from karaoke_train.cli import main

sys.exit(main())
