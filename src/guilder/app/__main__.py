"""The entry point: `guilder …`, `python -m guilder.app …`.

`up` runs as long as everything does, so it loads what it needs and no more: a quarter of the memory of the other commands.
"""

import sys


def main() -> int:
    """Run a command; its exit status."""
    if sys.argv[1:] == ["up"]:
        from guilder.app.telling import told
        from guilder.app.up import main as up

        return told(up)
    from guilder.app.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
