"""Acts: what the engine has decided about processes and their output, carried out and told."""
