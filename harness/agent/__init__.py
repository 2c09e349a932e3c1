"""The agent client: knows the dialect in which the harness and the agent in the guest speak."""
