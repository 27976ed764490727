"""A model and data in; a trained model and its record log out."""
