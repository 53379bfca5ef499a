"""What is announced: pools, nodes, who announced them, and what an operator changed.  Pure."""
