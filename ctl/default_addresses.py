"""Where our programs' admins listen unless told otherwise.  Imports nothing: health checks ask for it all the time."""

from __future__ import annotations

ROUTER = "127.0.0.1:3033"
CONTROLLER = "127.0.0.1:3034"
#: The page has no admin: this is where browsers ask.
PAGE = "127.0.0.1:3036"
CERTS = "127.0.0.1:3037"
