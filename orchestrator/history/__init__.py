"""The history of runs: what every test gave, in an SQLite file of one's own or in a PostgreSQL of many."""
