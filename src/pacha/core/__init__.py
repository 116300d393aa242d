"""Values and decisions, without any input or output: what Pacha knows, apart from the world it acts upon."""
