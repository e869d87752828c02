// What the driver tells of a device.

/// A device, as its driver describes it; what it does not tell is nil.
package struct NPUDeviceInfo: Sendable, Hashable, Encodable {
  package var node: String
  /// The driver's name, version and description.
  package var driver: String
  /// Whether software stands in for the silicon.
  package var isEmulated: Bool
  package var firmware: String?
  package var arrayVersion: String?
  package var columns: Int?
  package var rows: Int?
  /// In MHz: of the array, and of its controller.
  package var arrayClock: Int?
  package var controllerClock: Int?
  package var powerMode: Int?

  package init(node: String, driver: String, isEmulated: Bool) {
    self.node = node
    self.driver = driver
    self.isEmulated = isEmulated
  }
}
