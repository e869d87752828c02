// Configurations, images and control code: published words, what is written is read again, and bad bytes.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct `Files of the array` {
  private let commands: [ConfigurationCommand] = [
    .maskedWrite(address: 0x0023_2000, mask: 1, value: 0), .write(address: 0x0021_F040, value: 2),
    .block(
      address: 0x0021_D000,
      words: [0x03D0_0200, 0, 0, 0, 0, 0x0E04_3FE0]
    ),
    .block(address: 0x0022_0000, words: (0..<552).map { UInt32($0) }),
    .poll(address: 4, mask: 1, value: 1),
  ]
  private let operations: [ControlOperation] = [
    .block(
      address: 0x1D000,
      words: [0x800, 0, 0, 0, 0x8000_0000, 0x0200_0000, 0, 0x0200_0000]
    ),
    .patch(address: 0x1D004, argument: 0, offset: 0),
    .patch(address: 0x1D024, argument: 0, offset: 0x40000),
    .write(address: 0x1D214, value: 0),
    .maskedWrite(address: 0x1D200, mask: 0x1F00, value: 0xF00),
    .write(address: 0x1D204, value: 0x8000_0002),
    .wait(.intoMemory, column: 0, row: 0, channel: 0, columns: 1, rows: 1),
    .wait(.intoMemory, column: 1, row: 0, channel: 1, columns: 1, rows: 1),
  ]

  @Test func `commands are written as in published configurations`() throws {
    let names = [
      "MASK_WRITE core disable", "WRITE lock init", "DMA_WRITE header of a core BD",
      "DMA_WRITE long form",
    ]
    for (command, name) in zip(commands, names) {
      let words = Configuration.words(of: [command])
      let published = try FormatVector.words("cdo", name)
      let start = try #require(
        words.indices.first { words[$0...].starts(with: published) },
        "\(name)"
      )
      if case .block = command {
        #expect(start.isMultiple(of: 4))
        #expect(words[Configuration.headerCount..<start].first.map { $0 & 0xFFFF == 0x111 } ?? true)
      }
    }
  }

  @Test func `headers have published words and checksums`() throws {
    for name in ["gemm-512-4col", "gemm-256-1col", "gemv-288", "single-add"] {
      let header = try FormatVector.words("pdi", "partition header \(name)")
      let start = try FormatVector.words("cdo", "CDO header \(name)")
      // Any commands of so many words: writes have three, polls four.
      let count = Int(start[3])
      var commands: [ConfigurationCommand] = (0..<count % 3).map { _ in
        .poll(address: 0, mask: 0, value: 0)
      }
      commands += (0..<(count - 4 * commands.count) / 3).map { _ in .write(address: 0, value: 0) }
      let image = DeviceImage.words(of: commands)
      #expect(Array(image[0x34..<0x54]) == header, "\(name)")
      #expect(Array(image[0x54..<0x59]) == start, "\(name)")
      #expect(Array(image[..<4]) == (try FormatVector.words("pdi", "width detection")))
      #expect(Array(image[4..<36]) == (try FormatVector.words("pdi", "image header table")))
      #expect(Array(image[36..<52]) == (try FormatVector.words("pdi", "image header, 16")))
      #expect(image.count.isMultiple(of: 4))
    }
  }

  @Test func `control code is written as in published files`() throws {
    let names = [
      "BLOCKWRITE of shim BD0", "DDR_PATCH of BD0 address", "DDR_PATCH with offset",
      "WRITE32 task queue", "MASKWRITE controller id", "WRITE32 task queue with token", "TCT wait",
      "TCT wait column 1 channel 1",
    ]
    for (operation, name) in zip(operations, names) {
      let words = ControlCode.words(of: [operation])
      #expect(Array(words[4...]) == (try FormatVector.words("txn", name)), "\(name)")
      #expect(Array(words[..<4]) == [0x0603_0100, 0x104, 1, UInt32(4 * words.count)])
    }
    let block = try FormatVector.words("txn", "BLOCKWRITE in column 1")
    let own = ControlCode.words(of: [.block(address: block[2], words: Array(block[4...]))])
    #expect(Array(own[4...]) == block)
    let header = try FormatVector.words("txn", "header")
    #expect(header[..<2] == own[..<2])
  }

  @Test func `what is written is read again`() throws {
    #expect(try DeviceImage.commands(in: DeviceImage.words(of: commands)) == commands)
    #expect(try Configuration.commands(in: Configuration.words(of: commands)) == commands)
    #expect(try ControlCode.operations(in: ControlCode.words(of: operations)) == operations)
    let words: [UInt32] = [0x0403_0201, .max]
    #expect(words.littleEndianBytes == [1, 2, 3, 4, 255, 255, 255, 255])
    #expect(try WordReader.words(of: words.littleEndianBytes) == words)
    #expect(throws: NPUError.self) { try WordReader.words(of: [1, 2, 3]) }
  }

  @Test func `a wrong checksum, size or command is named`() throws {
    func refusal(_ change: (inout [UInt32]) -> Void) -> String {
      var words = DeviceImage.words(of: commands)
      change(&words)
      do throws(NPUError) {
        _ = try DeviceImage.commands(in: words)
        return "accepted"
      } catch {
        return "\(error)"
      }
    }
    #expect(refusal { $0[0] = 0 }.contains("preamble"))
    #expect(refusal { $0[35] ^= 1 }.contains("image header table"))
    #expect(refusal { $0[0x53] ^= 1 }.contains("checksum of the partition header"))
    #expect(refusal { $0[0x58] ^= 1 }.contains("checksum of the header"))
    #expect(refusal { $0[0x59] ^= 0x10 }.contains("unknown command"))
    #expect(refusal { $0.removeLast(4) }.contains("partition header is not that"))
    var code = ControlCode.words(of: operations)
    code[2] += 1
    #expect(throws: NPUError.self) { try ControlCode.operations(in: code) }
  }

  @Test func `bytes of any kind are refused or read, and nothing crashes`() throws {
    var random = SeededRandom(11)
    let good = [
      DeviceImage.words(of: commands), Configuration.words(of: commands),
      ControlCode.words(of: operations),
    ]
    for round in 0..<3_000 {
      var words = good[round % 3]
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: words.indices, using: &random)
        switch Int.random(in: 0...3, using: &random) {
        case 0: words[place] = .random(in: .min ... .max, using: &random)
        case 1: words[place] ^= 1 << UInt32.random(in: 0...31, using: &random)
        case 2: words.removeSubrange(place...)
        default: words.insert(.max, at: place)
        }
        if words.isEmpty { words = [0] }
      }
      _ = try? DeviceImage.commands(in: words)
      _ = try? Configuration.commands(in: words)
      _ = try? ControlCode.operations(in: words)
    }
  }
}
