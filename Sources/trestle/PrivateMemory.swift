// What this process holds in memory stays there: secret keys, prompts and answers.

import CLinux
import Glibc

/// The variable that lets core files be written and debuggers attach.
private let debuggingVariable = "TRESTLE_ALLOW_DUMPS"

/// Keeps this process's memory out of core files and from the user's other processes.
///
/// A core file would hold all that was said since the start, and stay where it was written. With
/// `TRESTLE_ALLOW_DUMPS=1` the limits are left as they were found, for debuggers and profilers.
func keepMemoryPrivate() {
  if let value = unsafe getenv(debuggingVariable), unsafe String(cString: value) == "1" { return }
  guard clinux_forbid_dumps() != 0 else { return }
  printError("cannot keep memory out of core files: \(unsafe String(cString: strerror(errno)))")
}
