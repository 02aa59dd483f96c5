"""What stores charge: dated price books, amounts of money by kind, and the formulas between them."""
