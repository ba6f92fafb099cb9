"""Run by its path: `python -I …/child/main.py DIRECTORY`, an attempt's, with its `call` in it.

Or `… main.py warm DESCRIPTOR …`: then it goes on from there in each process that is forked for a
job.  Short, since a file that is run is compiled anew each time.
"""

import os
import sys

if __name__ == "__main__":
    # Its siblings go by a name of their own: `jobd` is whatever the job's interpreter has.
    package = type(sys)("_jobd_child")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["_jobd_child"] = package
    from _jobd_child import run  # type: ignore[import-not-found] # named above

    directory = sys.argv[1]
    if directory == "warm":
        from _jobd_child import warm

        directory = warm.serve(int(sys.argv[2]))
    run.run(directory)
