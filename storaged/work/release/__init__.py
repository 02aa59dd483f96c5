"""What is over is deleted: superseded places after their grace, what attempts left behind, old records."""
