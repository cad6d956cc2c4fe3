"""PromptMR."""
