"""Control charts of what each scan brings, and what is done when it changes."""
