"""`python -m codedata`."""

import sys

from codedata.cli import main

if __name__ == "__main__":
    sys.exit(main())
