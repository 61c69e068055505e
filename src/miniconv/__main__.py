"""``python -m miniconv``."""

from __future__ import annotations

import sys

from miniconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
