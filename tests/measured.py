"""What a process has to be given to be measured by `make coverage`, where a test starts it with an
environment of its own; nothing when nobody measures."""

from __future__ import annotations

import os

MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
