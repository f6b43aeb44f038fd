"""``python -m cli`` is the command `pipeline` where the project is not installed, as in its container image."""

from cli.app import main

if __name__ == "__main__":
    main()
