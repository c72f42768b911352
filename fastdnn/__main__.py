"""``python -m fastdnn`` is the ``fastdnn`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
