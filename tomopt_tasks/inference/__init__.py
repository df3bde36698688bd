"""From hits to tracks, scatters and predictions."""
