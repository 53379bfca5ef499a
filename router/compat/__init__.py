"""What only the INI files of old FastRouters ask for."""
