"""The sink that tells routers: a pure session for each router, and the thread with the sockets."""
