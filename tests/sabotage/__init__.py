"""Removes one safety line of the product at a time; some test has to miss it."""
