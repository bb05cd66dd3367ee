"""The recipe of the embedded model: `make demo-model`, or `python -m demo --help`. It needs the extra `train`."""
