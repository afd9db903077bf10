"""`python -m tocsin` is `tocsin`."""

from __future__ import annotations

import sys


def main() -> None:
    """What `tocsin` runs; one that is interrupted while it is still being loaded ends without a word, too."""
    try:
        from tocsin.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
