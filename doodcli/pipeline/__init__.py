"""`dood reproduce`: the graph of its tasks, and the engine that does what is missing."""
