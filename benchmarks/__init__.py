"""What is measured about the pack, and the models it is measured on: nothing of it is part of the pack."""
