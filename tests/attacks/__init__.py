"""What hostile peers do to a worker; each test was an attack that broke it."""
