// Keeps the memory of this process private, because it holds secret keys, prompts and answers.

import CLinux
import Glibc
import Platform

/// The environment variable that allows core files and debuggers.
private let debuggingVariable = "TRESTLE_ALLOW_DUMPS"

/// Keeps this process's memory out of core files and away from the user's other processes.
///
/// A core file would hold all prompts and answers since the start, and stay on the disk. With
/// `TRESTLE_ALLOW_DUMPS=1` the limits are left unchanged, for debuggers and profilers.
///
/// Swift's own crash report goes to the log and shows the memory that registers point to. It is set
/// up before this function runs, so this setting affects only the workers that this process starts.
/// To leave registers out of the coordinator's report, too, start it with
/// `SWIFT_BACKTRACE=registers=none`.
func keepMemoryPrivate() {
  if let value = unsafe getenv(debuggingVariable), unsafe String(cString: value) == "1" { return }
  let keepsWhatIsSet: CInt = 0
  unsafe setenv("SWIFT_BACKTRACE", "registers=none", keepsWhatIsSet)
  guard clinux_forbid_dumps() != 0 else { return }
  printError("cannot keep memory out of core files: \(systemMessage(errno))")
}
