"""Remembers: the records of the engine, on disk before anybody acts on them."""
