"""The sink that tells routers: a pure delivery for each router, and the thread with the sockets."""
