// What the program gives to the code that starts pipelines: its devices, its version, its
// directories, and where to report progress.

package import ModelFiles

/// The environment in which pipelines are started and devices are measured.
package struct LaunchContext: Sendable {
  package var devices: DeviceRegistry
  /// The version of the program.
  ///
  /// Profiles that another version has measured are not used.
  package var programVersion: String
  package var reporter: any LaunchReporter
  /// The directory of the profile cache.
  package var profileDirectory: String
  /// The cache of digests of model files.
  package var digests: DigestStore

  package init(
    devices: DeviceRegistry,
    programVersion: String,
    reporter: any LaunchReporter,
    profileDirectory: String = UserCache.directory("profiles"),
    digests: DigestStore = DigestStore(directory: UserCache.directory("digests"))
  ) {
    self.devices = devices
    self.programVersion = programVersion
    self.reporter = reporter
    self.profileDirectory = profileDirectory
    self.digests = digests
  }
}

/// Receives the messages and the progress of the launcher.
package protocol LaunchReporter: Sendable {
  /// Whether progress is visible. If not, a long operation is announced in one line.
  var showsProgress: Bool { get }

  /// Reports an event.
  ///
  /// - Parameters:
  ///   - line: What has happened.
  ///   - cause: The error that caused it, if any.
  func note(_ line: String, cause: (any Error)?)

  /// Begins to show the progress of an operation.
  func progress(_ label: String) -> any LaunchProgress
}

/// Shows the progress of an operation.
package protocol LaunchProgress: Sendable {
  func show(_ fraction: Double)
  /// Removes what was shown.
  func clear()
}
