"""Jinja2 templates: text with loops, no logic beyond them."""
