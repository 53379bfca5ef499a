"""``fastroute-certs``: gets and renews certificates by ACME for the host names that routers and controllers know."""
