"""What several tests use: small scenes, tiny checkpoints in the hub's layouts, local stand-ins of servers."""
