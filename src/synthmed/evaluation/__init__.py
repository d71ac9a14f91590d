"""Steps that judge generators and their effect on the task; metrics do the arithmetic."""
