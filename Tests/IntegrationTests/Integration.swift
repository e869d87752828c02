// Ring 4: real processes over real sockets. Every suite here is a part of this one, which runs its
// tests one after the other: each loads the machine by itself, and says how long things may take.

import Testing

/// All tests that start processes.
@Suite(.serialized) enum Integration {}
