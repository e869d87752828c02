// Ring 4: real processes over real sockets. Every suite here is nested in this one, which runs its
// tests one after the other, because each loads the machine and expects answers within time limits.

import Testing

/// All tests that start processes.
@Suite(.serialized) enum Integration {}
