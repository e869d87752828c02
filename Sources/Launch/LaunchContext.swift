// What the program that starts things gives to the code that starts them: its devices, its version, and
// where it wants to be told what happens.

package import ModelFiles

/// The surroundings of whatever is started.
package struct LaunchContext: Sendable {
  package var devices: DeviceRegistry
  /// Profiles that another version has measured are not used.
  package var programVersion: String
  package var reporter: any LaunchReporter
  /// Where profiles are kept.
  package var profileDirectory: String
  /// Where digests of model files are kept.
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

/// Takes what the launcher has to say while it works.
package protocol LaunchReporter: Sendable {
  /// Whether somebody sees progress as it goes on; otherwise what takes long is said in a line.
  var showsProgress: Bool { get }

  /// Says something.
  ///
  /// - Parameters:
  ///   - line: What has happened.
  ///   - cause: Why, if an error tells.
  func note(_ line: String, cause: (any Error)?)

  /// Begins to show how far something is.
  func progress(_ label: String) -> any LaunchProgress
}

/// Shows how far something is.
package protocol LaunchProgress: Sendable {
  func show(_ fraction: Double)
  /// Takes away what was shown.
  func clear()
}
