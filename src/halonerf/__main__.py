"""`halonerf` and `python -m halonerf`: the command line, which stops on a signal from its first moment on."""

from halonerf.process.signals import stopping


def main() -> None:
    """Entry point of `halonerf`."""
    with stopping():  # before the imports, which take a second
        from halonerf.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
