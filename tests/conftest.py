"""What all tests share."""

from hypothesis import settings

# A slow machine is no failure.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")
