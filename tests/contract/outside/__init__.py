"""The daemon from outside: its process, its socket, its command line and its files."""
