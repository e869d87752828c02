// The options for connections between machines: which keys to use, or explicitly none.

import ArgumentParser
import Launch
import Logging
import Wire

/// `--keys` and `--insecure`.
struct SecurityOptions: ParsableArguments {
  @OptionGroup var keys: KeyDirectoryOptions

  @Flag(
    help:
      "Use tcp endpoints without keys: nothing is encrypted, and everybody who reaches them is served."
  )
  var insecure = false

  /// Returns the protection of a coordinator at an endpoint.
  ///
  /// - Throws: `CommandError` that says how to make keys, if it needs some and there are none.
  func coordinator(at endpoint: Endpoint, logger: Logger) throws -> CoordinatorSecurity {
    guard case .tcp = endpoint.kind else { return .localOnly }
    guard !insecure else { return CoordinatorSecurity(.insecure, ["--insecure"]) }
    let directory = try keys.resolve()
    let own = try ownKeys(directory, for: endpoint)
    // The list is read here so that an invalid file ends the command. It is read again and again
    // later, because it may change while the pipeline runs.
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
        "\(endpoint): a tcp endpoint needs keys, but \(directory.path) has none; make them with "
          + "`trestle keys` and let other machines in with `trestle keys allow`, or give --insecure "
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
      "The directory of this machine's keys. Default: trestle/keys in $XDG_CONFIG_HOME or ~/.config.",
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
      "The coordinator's public key, or its name in `trestle keys list`. Default for an address of this machine: this machine's key.",
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
        "\(coordinator): give the coordinator's public key with --server-key; `trestle keys` shows it "
          + "on the coordinator's machine"
      )
    }
    let allowed = try directory.allowed()
    if let key = allowed[name: serverKey] { return key }
    do { return try PublicKey(serverKey) } catch {
      let names = allowed.entries.map(\.name).joined(separator: ", ")
      throw CommandError(
        "--server-key \(serverKey): this is neither a public key (\(error.message)) nor a name in "
          + "\(directory.allowedPath)\(names.isEmpty ? "" : ", which has \(names)")"
      )
    }
  }
}
