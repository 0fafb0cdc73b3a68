"""What is wired to a node: one file of boards, checked, and everything that is drawn from it."""
