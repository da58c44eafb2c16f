"""The command line: `graphjit dump`, `explain`, `ptx`, `cache`, `machine`."""
