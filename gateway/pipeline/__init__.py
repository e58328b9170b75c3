"""The straight line of a request: dispatch, gather, read, write."""
