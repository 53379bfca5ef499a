"""The admin HTTP that router and controller share: its server, who may ask for what, its answers."""
