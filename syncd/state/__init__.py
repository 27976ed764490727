"""What has to survive a crash; small files in the state folder."""
