"""The parsers on the hostile edge, fed with bytes: what each may do with any input whatever."""
