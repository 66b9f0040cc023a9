"""What an experience does to the reward, measured from rollouts that read it and rollouts that did not."""
