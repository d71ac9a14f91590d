"""Tables, figures, the report page and the leaderboard: they read result files and measure nothing anew."""
