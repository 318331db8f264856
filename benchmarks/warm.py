"""Does once, when imported, what libraries put off to their first use; a worker did it long ago."""

from app.usage import frames

# The first check of a frame imports half a second's worth of pandera.
frames.NOTES.validate(frames.empty(frames.NOTES))
