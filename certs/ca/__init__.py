"""Speaking with the CA: ACME by the library ``acme``, over HTTP that is bounded in size and time."""
