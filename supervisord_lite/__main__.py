"""`python -m supervisord_lite` is `supervisord-lite`."""

import sys

from supervisord_lite.cli import main

if __name__ == "__main__":
    sys.exit(main())
