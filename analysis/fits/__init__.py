"""What is fitted to points: the published procedure, and concept-level models with their intervals."""
