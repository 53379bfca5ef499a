"""fastroute-ctl: one file per verb."""
