"""What only the INI files of old FastRouters ask for.  These modules may import all others of the router.

Who imports them stands in ``pyproject.toml`` (the contract "compat is plugged in at few places"): the reader of INIs,
the relay's context, and the few places at which a request or a key takes another way.
"""
