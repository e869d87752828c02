// The options for connections between machines: whose keys, or none in so many words.

import ArgumentParser
import Launch
import Logging
import Wire

/// `--keys` and `--insecure`.
struct SecurityOptions: ParsableArguments {
  @OptionGroup var keys: KeyDirectoryOptions

  @Flag(help: "Open tcp endpoints without keys: no encryption, and whoever reaches them is served.")
  var insecure = false

  /// Returns the protection of a coordinator at an endpoint.
  ///
  /// - Throws: `CommandError` that says how to make keys, if it needs some and there are none.
  func coordinator(at endpoint: Endpoint, logger: Logger) throws -> CoordinatorSecurity {
    guard case .tcp = endpoint.kind else { return .localOnly }
    guard !insecure else { return CoordinatorSecurity(.insecure, ["--insecure"]) }
    let directory = try keys.resolve()
    let own = try ownKeys(directory, for: endpoint)
    // Read now, so that a bad file ends the command, and again and again: it may be changed while the
    // pipeline runs.
    let access = try AccessList(own: own.publicKey, in: directory) { error in
      logger.error("allowed keys unreadable", metadata: ["reason": "\(error)"])
    }
    let security = Security.coordinator(own, access: access)
    return CoordinatorSecurity(
      security,
      ["--keys", directory.path, "--server-key=\(own.publicKey)"]
    )
  }

  /// Returns this machine's keys.
  fileprivate func ownKeys(_ directory: KeyDirectory, for endpoint: Endpoint) throws -> KeyPair {
    guard let own = try directory.keyPair() else {
      throw CommandError(
        "\(endpoint): a tcp endpoint needs keys and \(directory.path) has none; make them with "
          + "`trestle keys`, let other machines in with `trestle keys allow`, or say --insecure "
          + "to go without encryption and authentication"
      )
    }
    return own
  }
}

/// `--keys`.
struct KeyDirectoryOptions: ParsableArguments {
  @Option(
    name: .customLong("keys"),
    help: ArgumentHelp(
      "Where this machine's keys are. Default: trestle/keys in $XDG_CONFIG_HOME or ~/.config.",
      valueName: "directory"
    )
  )
  var directory: String?

  func resolve() throws -> KeyDirectory {
    try directory.map { KeyDirectory($0) } ?? KeyDirectory.standard()
  }
}

/// `--keys`, `--insecure` and `--server-key`.
struct PeerSecurityOptions: ParsableArguments {
  @OptionGroup var common: SecurityOptions

  @Option(
    help: ArgumentHelp(
      "The coordinator's public key, or its name in `trestle keys list`. Default: this machine's, for an address of this machine.",
      valueName: "key"
    )
  )
  var serverKey: String?

  /// Returns the protection of a worker or client of a coordinator.
  ///
  /// - Throws: `CommandError` that says what is missing.
  func peer(of coordinator: Endpoint) throws -> Security {
    guard case .tcp = coordinator.kind else { return .localOnly }
    guard !common.insecure else { return .insecure }
    let directory = try common.keys.resolve()
    let own = try common.ownKeys(directory, for: coordinator)
    return .peer(own, coordinator: try key(of: coordinator, own, directory))
  }

  private func key(
    of coordinator: Endpoint,
    _ own: KeyPair,
    _ directory: KeyDirectory
  ) throws -> PublicKey {
    guard let serverKey else {
      if coordinator.isLocal { return own.publicKey }
      throw CommandError(
        "\(coordinator): say whose it is with --server-key, the public key that `trestle keys` "
          + "shows on the coordinator's machine"
      )
    }
    let allowed = try directory.allowed()
    if let key = allowed[name: serverKey] { return key }
    do { return try PublicKey(serverKey) } catch {
      let names = allowed.entries.map(\.name).joined(separator: ", ")
      throw CommandError(
        "--server-key \(serverKey): neither a public key (\(error.message)) nor a name in "
          + "\(directory.allowedPath)\(names.isEmpty ? "" : ", which has \(names)")"
      )
    }
  }
}
