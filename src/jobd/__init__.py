"""jobd: the background-job daemon for one machine."""
