"""Rolling-origin evaluation: forecasts from many origins, each by a model that was trained on earlier rows alone."""
