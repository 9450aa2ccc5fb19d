"""What tests share: models, strategies, fixtures."""
