"""Token, keys and scopes: who is asking, and how far a token reaches."""
