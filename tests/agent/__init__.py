"""The running agent, from outside."""
