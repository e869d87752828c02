// Which keys may do what at a coordinator, as its list says now: the list is a file that may change at
// any time, and what was allowed when a connection came may be so no longer.

internal import Platform

/// What each key may do, at one time.
package struct Access: Sendable, Hashable {
  package struct Holder: Sendable, Hashable {
    /// As the list calls it.
    package let name: String
    package let roles: Set<Role>
  }

  private let holders: [PublicKey: Holder]

  /// - Parameters:
  ///   - own: The coordinator's own machine, which may do all.
  ///   - list: The others.
  package init(own: PublicKey, _ list: KeyList) {
    var holders: [PublicKey: Holder] = [:]
    for entry in list.entries {
      holders[entry.key] = Holder(name: entry.name, roles: entry.roles)
    }
    holders[own] = Holder(name: "this machine", roles: Role.all)
    self.holders = holders
  }

  /// Who has a key; nil if it is not let in.
  package subscript(key: PublicKey) -> Holder? { holders[key] }
}

/// The list of a directory of keys, read anew for each new connection and at least each second.
package final class AccessList: Sendable {
  private struct State {
    var access: Access
    var isNew = true
    /// Why the file was not read last time; nil if it was.
    var failure: String?
  }

  private let own: PublicKey
  private let directory: KeyDirectory
  private let onFailure: @Sendable (WireError) -> Void
  private let state: Lock<State>

  /// Reads the list.
  ///
  /// - Parameters:
  ///   - own: The coordinator's own key.
  ///   - directory: Where the list is.
  ///   - onFailure: Told once when the file can no longer be read. Called on any thread.
  /// - Throws: `WireError` with code `key` if the list cannot be read.
  package init(
    own: PublicKey,
    in directory: KeyDirectory,
    onFailure: @escaping @Sendable (WireError) -> Void
  ) throws(WireError) {
    self.own = own
    self.directory = directory
    self.onFailure = onFailure
    state = Lock(State(access: Access(own: own, try directory.allowed())))
  }

  /// Whether a key may connect, by the file as it is now.
  ///
  /// While the file cannot be read, nobody new comes in but this machine.
  package func allows(_ key: PublicKey) -> Bool {
    key == own || (refresh() && state.withLock { $0.access[key] != nil })
  }

  /// Reads the file; false if it cannot be read, and then what it said before goes on to hold for those
  /// who are connected: a slip in it must not end what they do.
  @discardableResult
  package func refresh() -> Bool {
    do throws(WireError) {
      let access = Access(own: own, try directory.allowed())
      state.withLock { state in
        state.failure = nil
        guard access != state.access else { return }
        state.access = access
        state.isNew = true
      }
      return true
    } catch {
      let isNews = state.withLock { state in
        defer { state.failure = "\(error)" }
        return state.failure != "\(error)"
      }
      if isNews { onFailure(error) }
      return false
    }
  }

  /// Returns what holds now, once for each time that it changes, the first included.
  package func takeChange() -> Access? {
    state.withLock { state in
      defer { state.isNew = false }
      return state.isNew ? state.access : nil
    }
  }
}
