"""What decides: which hosts are wanted, and what is due for each and when.  Pure."""
