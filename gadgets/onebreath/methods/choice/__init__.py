"""Choice among methods by acquired lines that none of them sees."""
