"""No receiver outlives the test that it stayed ready for."""

from tests.ready import no_receiver_stays

__all__ = ["no_receiver_stays"]
