"""What is on disk: pairs of certificate and key, and what is remembered of attempts."""
