"""`laser theory`: what messages weigh, how far they move a gradient, what that costs in rounds; nothing is trained."""
