"""`halonerf` and `python -m halonerf`: the command line, which stops on a signal from its first moment on."""

from halonerf.process.signals import leave, stopping


def main() -> None:
    """Entry point of `halonerf`."""
    with stopping():  # before the imports, which take a second
        from halonerf.cli import main as command_line

        code: object = None
        try:
            command_line()
        except SystemExit as error:
            code = error.code
        leave(code)


if __name__ == "__main__":
    main()
