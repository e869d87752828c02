// What this process holds in memory stays there: secret keys, prompts and answers.

import CLinux
import Glibc

/// The variable that lets core files be written and debuggers attach.
private let debuggingVariable = "TRESTLE_ALLOW_DUMPS"

/// Keeps this process's memory out of core files and from the user's other processes.
///
/// A core file would hold all that was said since the start, and stay where it was written. With
/// `TRESTLE_ALLOW_DUMPS=1` the limits are left as they were found, for debuggers and profilers.
///
/// Swift's own report of a crash goes to the log and shows the memory that registers point to. It is
/// set up before this runs: the workers that this process starts leave registers out, and whoever
/// wants this of the coordinator, too, sets `SWIFT_BACKTRACE=registers=none` for it.
func keepMemoryPrivate() {
  if let value = unsafe getenv(debuggingVariable), unsafe String(cString: value) == "1" { return }
  let keepsWhatIsSet: CInt = 0
  unsafe setenv("SWIFT_BACKTRACE", "registers=none", keepsWhatIsSet)
  guard clinux_forbid_dumps() != 0 else { return }
  printError("cannot keep memory out of core files: \(unsafe String(cString: strerror(errno)))")
}
