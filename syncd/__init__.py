"""karaoke-syncd: what record logs hold, on wandb; every record once, none lost."""
