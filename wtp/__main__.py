"""`python -m wtp` is `wtp`."""

from wtp.cli import main

if __name__ == "__main__":
    main()
