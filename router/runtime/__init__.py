"""What all programs of the package need from the machine: sockets, files, logs, names, privileges.  Edges."""
