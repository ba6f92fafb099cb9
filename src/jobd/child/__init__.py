"""What runs inside a callable's process: import, check, call, and say how it ended.

Standard library only, Python 3.8 or newer, in an interpreter that need not have jobd.
"""
