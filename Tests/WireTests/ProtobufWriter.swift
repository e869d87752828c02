// Writes protobuf by hand, to make messages that no honest sender would send.

import Wire

/// Writes fields as the protobuf encoding lays them out (protobuf.dev, "Encoding").
struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  /// Returns an Envelope of this program's version, or of another.
  static func envelope(
    version: UInt64 = UInt64(protocolVersion),
    _ write: (inout ProtobufWriter) -> Void = { _ in }
  ) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.varint(1, version)
    write(&writer)
    return writer.bytes
  }

  mutating func raw(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7f) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  mutating func rawByte(_ byte: UInt8) { bytes.append(byte) }

  mutating func varint(_ field: UInt64, _ value: UInt64) {
    raw(field << 3)
    raw(value)
  }

  mutating func bytes(_ field: UInt64, _ content: [UInt8]) {
    raw(field << 3 | 2)
    raw(UInt64(content.count))
    bytes += content
  }

  mutating func message(_ field: UInt64, _ write: (inout ProtobufWriter) -> Void = { _ in }) {
    var inner = ProtobufWriter()
    write(&inner)
    bytes(field, inner.bytes)
  }
}
