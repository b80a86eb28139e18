"""What programs print: a parser for each kind, and a table that says which."""
