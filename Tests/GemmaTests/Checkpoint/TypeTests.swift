// Which types the tensors of a GGUF model may have, in each role; others are refused by name.

import Compute
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Types of a model's tensors` {
  /// One tensor for each role that a matrix has in Gemma 4.
  private static let roles = [
    "token_embd.weight", "per_layer_token_embd.weight", "per_layer_model_proj.weight",
    "blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight",
    "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight",
    "blk.0.inp_gate.weight", "blk.0.proj.weight",
  ]

  /// Types that backends do not know, with the numbers and blocks of ggml.
  private static let foreign: [(name: String, number: UInt32, block: UInt64, bytes: Int)] = [
    ("Q8_1", 9, 32, 36), ("Q8_K", 15, 256, 292), ("IQ2_XXS", 16, 256, 66), ("IQ2_XS", 17, 256, 74),
    ("IQ3_XXS", 18, 256, 98), ("IQ1_S", 19, 256, 50), ("IQ3_S", 21, 256, 110),
    ("IQ2_S", 22, 256, 82), ("I8", 24, 1, 1), ("I16", 25, 1, 2), ("I32", 26, 1, 4),
    ("I64", 27, 1, 8), ("F64", 28, 1, 8), ("IQ1_M", 29, 256, 56), ("TQ1_0", 34, 256, 54),
    ("TQ2_0", 35, 256, 66), ("MXFP4", 39, 32, 17), ("NVFP4", 40, 64, 36), ("Q1_0", 41, 128, 18),
  ]

  /// Gives a tensor another type, with whole blocks in each row and as many bytes as they take.
  private static func retype(
    _ builder: inout GGUFBuilder,
    _ name: String,
    number: UInt32,
    block: UInt64,
    bytes: Int
  ) {
    builder.change(name) { tensor in
      tensor.type = number
      let columns = (tensor.dimensions[0] + block - 1) / block * block
      tensor.dimensions[0] = columns
      let rows = tensor.dimensions.dropFirst().reduce(1, *)
      tensor.bytes = [UInt8](repeating: 0, count: Int(rows * (columns / block)) * bytes)
    }
  }

  @Test(arguments: TensorType.allCases)
  func `every type that backends know may stand in every role`(_ type: TensorType) throws {
    for role in Self.roles {
      var builder = TinyModel.gemma4.gguf
      Self.retype(
        &builder,
        role,
        number: type.number,
        block: UInt64(type.blockLength),
        bytes: type.blockByteCount
      )
      let tensor = try #require(builder.tensors.first { $0.name == role })
      let original = try #require(TinyModel.gemma4.gguf.tensors.first { $0.name == role })
      guard tensor.dimensions == original.dimensions else {
        // The tiny model's rows are shorter than a block: then the shape alone is refused.
        expectRefusal(.tensor, role, "shape") { _ = try openModel(builder) }
        continue
      }
      let weights = try openModel(builder).weights
      #expect(weights.contains { $0.tensor.name == role && $0.type == type })
    }
  }

  @Test func `every other type is refused by tensor and name, and what can be used is named`()
    throws
  {
    for role in Self.roles {
      for type in Self.foreign {
        var builder = TinyModel.gemma4.gguf
        Self.retype(&builder, role, number: type.number, block: type.block, bytes: type.bytes)
        let tensor = try #require(builder.tensors.first { $0.name == role })
        let original = try #require(TinyModel.gemma4.gguf.tensors.first { $0.name == role })
        guard tensor.dimensions == original.dimensions else { continue }
        expectRefusal(.unsupported, role, type.name, "Q4_0", "Q6_K", "IQ4_XS") {
          _ = try openModel(builder)
        }
      }
    }
  }

  @Test func `the names of all other types are known`() {
    for type in Self.foreign {
      let known = GGUFTensorType(number: type.number)
      #expect(known?.name == type.name && known?.type == nil)
      #expect(
        known.map { UInt64($0.blockLength) } == type.block && known?.blockByteCount == type.bytes
      )
    }
  }
}
