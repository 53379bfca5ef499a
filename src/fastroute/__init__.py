"""fastroute: requests reach the workers that announced themselves, with no reload in between."""

__version__ = "0.1.0"
