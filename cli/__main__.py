"""``python -m cli`` is the command `pipeline` where it is not installed, as in the container of that name."""

from cli.app import main

if __name__ == "__main__":
    main()
