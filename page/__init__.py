"""fastroute-page: a read-only web page about routers and controllers.  docs/page.md."""
