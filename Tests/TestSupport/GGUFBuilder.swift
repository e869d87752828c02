// Writes GGUF files, right ones and wrong ones. It shares no code with the reader: numbers and
// layout are written out from the specification
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

/// A GGUF file to be.
package struct GGUFBuilder: Sendable {
  /// A metadata value: the type's number and the bytes that follow it.
  package struct Value: Sendable {
    package var type: UInt32
    package var bytes: [UInt8]

    package init(type: UInt32, bytes: [UInt8]) {
      self.type = type
      self.bytes = bytes
    }

    package static func uint8(_ value: UInt8) -> Value { Value(type: 0, bytes: [value]) }
    package static func int8(_ value: Int8) -> Value { Value(type: 1, bytes: littleEndian(value)) }
    package static func uint16(_ value: UInt16) -> Value {
      Value(type: 2, bytes: littleEndian(value))
    }
    package static func int16(_ value: Int16) -> Value {
      Value(type: 3, bytes: littleEndian(value))
    }
    package static func uint32(_ value: UInt32) -> Value {
      Value(type: 4, bytes: littleEndian(value))
    }
    package static func int32(_ value: Int32) -> Value {
      Value(type: 5, bytes: littleEndian(value))
    }
    package static func float32(_ value: Float) -> Value {
      Value(type: 6, bytes: littleEndian(value.bitPattern))
    }
    package static func bool(_ value: Bool) -> Value { Value(type: 7, bytes: [value ? 1 : 0]) }
    package static func string(_ text: String) -> Value {
      Value(type: 8, bytes: prefixed(text.utf8))
    }
    package static func uint64(_ value: UInt64) -> Value {
      Value(type: 10, bytes: littleEndian(value))
    }
    package static func int64(_ value: Int64) -> Value {
      Value(type: 11, bytes: littleEndian(value))
    }
    package static func float64(_ value: Double) -> Value {
      Value(type: 12, bytes: littleEndian(value.bitPattern))
    }

    /// An array of values, which must be of one type.
    package static func array(_ values: [Value], type: UInt32? = nil, count: UInt64? = nil) -> Value
    {
      let elementType = type ?? values.first?.type ?? 4
      return Value(
        type: 9,
        bytes: littleEndian(elementType) + littleEndian(count ?? UInt64(values.count))
          + values.flatMap(\.bytes)
      )
    }
  }

  /// A tensor: dimensions innermost first, as the file stores them.
  package struct Tensor: Sendable {
    package var name: String
    package var dimensions: [UInt64]
    package var type: UInt32
    package var bytes: [UInt8]
    /// Where the header says it lies; where it does lie if nil.
    package var claimedOffset: UInt64?

    package init(
      name: String,
      dimensions: [UInt64],
      type: UInt32,
      bytes: [UInt8],
      claimedOffset: UInt64? = nil
    ) {
      self.name = name
      self.dimensions = dimensions
      self.type = type
      self.bytes = bytes
      self.claimedOffset = claimedOffset
    }
  }

  package var magic: [UInt8] = Array("GGUF".utf8)
  package var version: UInt32 = 3
  package var alignment = 32
  package var claimedTensorCount: UInt64?
  package var claimedKeyCount: UInt64?
  package var metadata: [(key: String, value: Value)] = []
  package var tensors: [Tensor] = []

  package init() {}

  /// A metadata value by key; setting nil removes it.
  package subscript(key: String) -> Value? {
    get { metadata.first { $0.key == key }?.value }
    set {
      let index = metadata.firstIndex { $0.key == key }
      switch (index, newValue) {
      case (let index?, let value?): metadata[index].value = value
      case (let index?, nil): metadata.remove(at: index)
      case (nil, let value?): metadata.append((key, value))
      case (nil, nil): break
      }
    }
  }

  /// Calls the body with the tensor of a name, to change it.
  package mutating func change(_ name: String, _ body: (inout Tensor) -> Void) {
    guard let index = tensors.firstIndex(where: { $0.name == name }) else {
      preconditionFailure("the test's model has no tensor \(name)")
    }
    body(&tensors[index])
  }

  /// The bytes before the tensor data and its padding.
  package var header: [UInt8] {
    var bytes = magic + littleEndian(version)
    bytes += littleEndian(claimedTensorCount ?? UInt64(tensors.count))
    bytes += littleEndian(claimedKeyCount ?? UInt64(metadata.count))
    for (key, value) in metadata {
      bytes += prefixed(key.utf8) + littleEndian(value.type) + value.bytes
    }
    var offset = 0
    for tensor in tensors {
      bytes += prefixed(tensor.name.utf8) + littleEndian(UInt32(tensor.dimensions.count))
      bytes += tensor.dimensions.flatMap(littleEndian) + littleEndian(tensor.type)
      bytes += littleEndian(tensor.claimedOffset ?? UInt64(offset))
      offset = aligned(offset + tensor.bytes.count)
    }
    return bytes
  }

  /// The whole file.
  package var bytes: [UInt8] {
    var bytes = header
    for tensor in tensors {
      bytes += [UInt8](repeating: 0, count: aligned(bytes.count) - bytes.count)
      bytes += tensor.bytes
    }
    return bytes
  }

  private func aligned(_ offset: Int) -> Int { (offset + alignment - 1) / alignment * alignment }
}

/// Returns an integer's bytes, the lowest first.
package func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<(value.bitWidth / 8)).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// Returns a string as GGUF stores it: its length in 64 bits, then its bytes.
private func prefixed(_ text: String.UTF8View) -> [UInt8] {
  littleEndian(UInt64(text.count)) + Array(text)
}
