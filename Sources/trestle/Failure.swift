// How a command fails: one line on stderr, exit status 1.

import ArgumentParser
import CLinux
import Client
import Compute
import Foundation
import Glibc
import Launch
import Platform
import Quantization

/// An error of a command itself; the modules have errors of their own.
struct CommandError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Runs a command's work and turns any error into one line on stderr and exit status 1.
///
/// Invalid options are reported by argument-parser, with the usage and exit status 64. If a model
/// file is truncated while it is read, the process ends with one line and exit status 74.
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

/// Writes a line to stderr, with control characters escaped, because it may contain text of other
/// processes.
func printError(_ line: String) { StandardError.write(line.printable + "\n") }

/// Returns the message of an error.
///
/// The modules' errors have one; for Foundation's it is the system's.
func reason(_ error: any Error) -> String {
  // These are about what the user has asked for, and the message is complete without the code.
  if let error = error as? LaunchError { return error.message }
  if let error = error as? ClientError { return error.message }
  if let error = error as? QuantizationError {
    return error.context.isEmpty ? error.message : "\(error.context): \(error.message)"
  }
  guard type(of: error) is NSError.Type || error is CocoaError else { return "\(error)" }
  let error = error as NSError
  if error.domain == NSPOSIXErrorDomain { return systemMessage(CInt(clamping: error.code)) }
  if let cause = error.userInfo[NSUnderlyingErrorKey] as? any Error { return reason(cause) }
  return error.localizedDescription
}
