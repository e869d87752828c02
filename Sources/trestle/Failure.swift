// How a command ends when something is wrong: one line on stderr, exit status 1.

import ArgumentParser
import CLinux
import Client
import Compute
import Foundation
import Glibc
import Launch

/// A failure of a command itself, beside those of the modules.
struct CommandError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Runs a command's work and turns any error into its line on stderr and exit status 1.
///
/// Bad flags are argument-parser's: they exit 64 with the usage. A model file that is cut short while
/// it is read ends the process with a line, too, and exit status 74.
func reportingFailures(_ work: () throws -> Void) throws {
  clinux_tell_of_cut_files()
  do {
    try work()
  } catch let error as ExitCode {
    throw error
  } catch let error as ValidationError {
    throw error
  } catch {
    printError("error: \(reason(error))")
    throw ExitCode.failure
  }
}

/// Writes a line to stderr, with the text of strangers escaped.
func printError(_ line: String) { StandardError.write(line.printable + "\n") }

/// Returns the system's words for an error number.
func reason(_ code: CInt) -> String { unsafe String(cString: strerror(code)) }

/// Returns what is wrong in words: the modules' errors have theirs, Foundation's are the system's.
func reason(_ error: any Error) -> String {
  // Of what the user has asked for, the sentence says all.
  if let error = error as? LaunchError { return error.message }
  if let error = error as? ClientError { return error.message }
  guard type(of: error) is NSError.Type || error is CocoaError else { return "\(error)" }
  let error = error as NSError
  if error.domain == NSPOSIXErrorDomain { return reason(CInt(clamping: error.code)) }
  if let cause = error.userInfo[NSUnderlyingErrorKey] as? any Error { return reason(cause) }
  return error.localizedDescription
}
