"""What the router was told: options, their sources (flags, environment, YAML, uWSGI INI) and the checked settings."""
