"""Choice among methods by held-back lines."""
