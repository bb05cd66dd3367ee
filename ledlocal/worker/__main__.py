"""`python -m ledlocal.worker FD`: started by the client, not by hand."""

from ledlocal.worker.server import main

if __name__ == "__main__":
    main()
