"""The life of a write: intent, transition table, settle, compensation, recovery."""
