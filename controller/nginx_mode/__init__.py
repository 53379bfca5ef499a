"""nginx mode: desired routes become nginx's own configuration, tested, swapped and reloaded.  docs/nginx-mode.md."""
