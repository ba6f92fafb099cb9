"""The process that owns the jobs' processes, so that no daemon's death is theirs.

It launches, signals and reaps, and writes every end to a file before it tells anybody.  It
decides nothing: no timeouts, no retries, no allow-list.  Standard library only, without
asyncio, dataclasses and typing: what it weighs is the floor of every job's `max_rss`.
"""
