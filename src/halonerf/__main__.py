"""`python -m halonerf`: the command line."""

from halonerf.cli import main

if __name__ == "__main__":
    main()
