"""The controller: watches Docker and tells routers (or nginx) what it decided."""
