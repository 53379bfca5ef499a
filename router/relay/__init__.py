"""The relay process: carries requests.  Standard library only, and nothing of control."""
