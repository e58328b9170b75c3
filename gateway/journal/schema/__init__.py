"""Numbered migrations of the journal, per backend. A journal that is newer than the program refuses it."""
