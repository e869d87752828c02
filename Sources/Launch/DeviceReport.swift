// What there is to say of a kind of device on this machine, whatever kind it is: what its backend says.

package import Compute

/// Whether a kind of device can be used here, and what it is like.
package struct DeviceReport: Encodable, Sendable, Hashable {
  package var device: String
  /// Whether this program can use it here.
  package var available: Bool
  /// Whether software stands in for the silicon.
  package var emulated: Bool
  package var detail: String
  /// What to do about what is missing; nil if there is nothing.
  package var remedy: String?

  package init(
    device: String,
    available: Bool,
    emulated: Bool = false,
    detail: String,
    remedy: String? = nil
  ) {
    self.device = device
    self.available = available
    self.emulated = emulated
    self.detail = detail
    self.remedy = remedy
  }
}

extension DeviceKind {
  /// Returns what the backend says of the device with these settings, or why it cannot be used.
  package func report(_ settings: BackendSettings) -> DeviceReport {
    do {
      let device = try describe(settings)
      return DeviceReport(
        device: name,
        available: true,
        emulated: device.isEmulated,
        detail: device.summary
      )
    } catch {
      return DeviceReport(device: name, available: false, detail: "\(error)")
    }
  }
}

extension DeviceDescription {
  /// The device in a sentence without its full stop: what it is, its memory, and what it cannot do.
  package var summary: String {
    let memory =
      "\(memory.byteCount >> 20) MiB of \(memory.isHostMemory ? "the host's" : "its own")"
    var text = "\(kind.rawValue), \(isEmulated ? "emulated, " : "")\(memory) memory"
    text += ", steps of up to \(preferredRows) rows"
    let obstacles =
      ops.compactMap { Self.obstacle(to: $0.op.rawValue, $0.support) }
      + weightTypes.compactMap { Self.obstacle(to: "weights of \($0.type.rawValue)", $0.support) }
    if !obstacles.isEmpty { text += "; cannot do " + obstacles.joined(separator: ", ") }
    return text
  }

  private static func obstacle(to what: String, _ support: Support) -> String? {
    if case .unsupported(let reason) = support { "\(what) (\(reason))" } else { nil }
  }
}
