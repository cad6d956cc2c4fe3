"""Help on the command line: one style, examples, completion."""
