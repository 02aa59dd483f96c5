"""What things cost: the bill, what plans are expected to cost and save, what came true, and what may be spent."""
