// PDI: the file that a driver gives to the array's firmware, with one partition that holds a configuration.
//
// Source: five published images, of which all but lengths, checksums and configuration is the same. What the constants
// mean is known in part only (Tests/Goldens/npu/txn_cdo_vectors.json).

package enum DeviceImage {
  private static let preamble: [UInt32] = [0x0000_00DD, 0x1122_3344, 0x5566_7788, 0x99AA_BBCC]
  /// Where the configuration begins, in words.
  private static let configuration = 0x54

  private static let table: [UInt32] = sealed(
    [
      0: 0x0004_0000, 1: 1, 2: 0x24, 3: 1, 4: 0x34, 6: 0x14CA_8093, 10: 0x5050_4449,
      11: 0x0020_1020, 12: 0x30, 17: 1,
    ],
    count: 32
  )
  private static let image: [UInt32] = sealed(
    [0: 0x34, 1: 1, 4: 0x5F65_6961, 5: 0x6761_6D69, 6: 0x65, 8: 0x1C00_0000],
    count: 16
  )

  private static func partition(_ count: Int) -> [UInt32] {
    let padded = UInt32((count + 3) & ~3)
    return sealed(
      [
        0: padded, 1: UInt32(count), 2: padded, 6: .max, 7: .max, 8: UInt32(configuration),
        9: 0x0200_0006, 10: 1,
      ],
      count: 32
    )
  }

  /// Words with these values, zeros between and a checksum at the end.
  private static func sealed(_ values: [Int: UInt32], count: Int) -> [UInt32] {
    var words = [UInt32](repeating: 0, count: count)
    for (place, value) in values { words[place] = value }
    words[count - 1] = Array(words.dropLast()).checksum
    return words
  }

  /// The image of a configuration.
  package static func words(of commands: [ConfigurationCommand]) -> [UInt32] {
    let words = Configuration.words(of: commands, at: configuration)
    let padding = [UInt32](repeating: 0, count: -words.count & 3)
    return preamble + table + image + partition(words.count) + words + padding
  }

  /// Reads the configuration of an image.
  ///
  /// - Throws: `NPUError.bytes` with the place of what is wrong.
  package static func commands(in words: [UInt32]) throws(NPUError) -> [ConfigurationCommand] {
    var reader = WordReader(words, "PDI")
    for (name, wanted) in [
      ("the preamble", preamble), ("the image header table", table), ("the image header", image),
    ] {
      for word in wanted { try reader.expect(word, "a word of \(name)") }
    }
    let header = try reader.next(32)
    guard header[31] == Array(header.dropLast()).checksum else {
      throw reader.error("the checksum of the partition header is wrong")
    }
    guard header[1] <= UInt32(reader.rest.count), header == partition(Int(header[1])) else {
      throw reader.error("the partition header is not that of \(header[1]) words")
    }
    let commands = try Configuration.commands(in: reader.next(Int(header[1])))
    guard reader.rest.count == -Int(header[1]) & 3, reader.rest.allSatisfy({ $0 == 0 }) else {
      throw reader.error("\(reader.rest.count) words behind the configuration, or no zeros")
    }
    return commands
  }
}
