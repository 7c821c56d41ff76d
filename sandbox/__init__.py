"""Where a command runs and what it can reach; knows no tool and no model."""
