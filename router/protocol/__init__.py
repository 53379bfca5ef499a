"""What routers, announcers and controllers agree on: packets, keys, addresses and the settings of nodes."""
