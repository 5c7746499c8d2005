"""What real clients see and hear on bad networks: `python -m bench.quality`."""
