"""HTTP in front of a node: WHIP, WHEP, the page, statistics."""
