"""The clients' edge: endpoint, framing, headers, responses."""
