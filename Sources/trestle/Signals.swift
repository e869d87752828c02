// Signals as a descriptor, for event loops and waits.

import CLinux
import Glibc
import Platform

/// Blocks SIGINT, SIGTERM and SIGHUP from now on and returns a descriptor that is readable when one
/// arrives.
///
/// It must be called before any other thread starts, so that all threads block these signals.
func signalDescriptor() throws -> CInt {
  let signals = [SIGINT, SIGTERM, SIGHUP]
  let descriptor = unsafe clinux_signalfd(signals, CInt(signals.count))
  guard descriptor >= 0 else {
    throw CommandError("signalfd failed: \(systemMessage(errno))")
  }
  return descriptor
}
