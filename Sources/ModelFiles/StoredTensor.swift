// A tensor as a model file lists it: shape, element type, and where its bytes lie.

package import Compute

/// A tensor of a model file.
package struct StoredTensor: Sendable {
  /// The name as the file spells it.
  package var name: String
  /// Row-major, outermost first, as Hugging Face writes it: a matrix is `[out, in]`.
  package var shape: [Int]
  /// The element type; nil for one that no backend knows.
  package var type: TensorType?
  /// The type as the file names it, for example `Q4_K` or `IQ2_XXS`.
  package var typeName: String
  package var file: MappedFile
  /// The first byte, from the start of the file.
  package var offset: Int
  package var byteCount: Int

  /// The elements of a row: the innermost dimension.
  package var columnCount: Int { shape.last ?? 1 }
  /// All but the innermost dimension multiplied; 1 for a vector.
  package var rowCount: Int { shape.dropLast().reduce(1, *) }

  /// Returns one part along the outermost dimension.
  ///
  /// - Precondition: The tensor has an outermost dimension that holds `index`.
  package func slice(_ index: Int) -> StoredTensor {
    precondition(
      shape.first.map { (0..<$0).contains(index) } ?? false,
      "slice \(index) of \(shape)"
    )
    var slice = self
    slice.shape.removeFirst()
    slice.byteCount = byteCount / shape[0]
    slice.offset = offset + index * slice.byteCount
    return slice
  }
}

/// What an error says of a file that ends too early.
let cutShort =
  "the file is damaged or cut short, as by a download that has not finished: fetch it again"

/// Returns the product of a shape's dimensions, or nil if one is negative or it overflows.
func elementCount(_ shape: [Int]) -> Int? {
  var product = 1
  for dimension in shape {
    guard dimension >= 0 else { return nil }
    let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
    guard !overflow else { return nil }
    product = next
  }
  return product
}

/// Checks that tensors lie in their file and do not overlap.
///
/// If `contiguous`, the format also forbids gaps, from `start` to the end of the file.
func checkExtents(
  _ tensors: [StoredTensor],
  in file: MappedFile,
  from start: Int,
  contiguous: Bool
) throws(ModelFilesError) {
  var end = start
  var last = "the header"
  let ordered = tensors.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
  for tensor in ordered {
    guard tensor.offset <= file.size, tensor.byteCount <= file.size - tensor.offset else {
      throw ModelFilesError(
        .format,
        "tensor \(tensor.name) lies at \(tensor.offset) with \(tensor.byteCount) bytes,"
          + " beyond the file's \(file.size); \(cutShort)",
        context: file.path
      )
    }
    guard tensor.offset >= end else {
      throw ModelFilesError(
        .format,
        "tensor \(tensor.name) at \(tensor.offset) overlaps \(last), which ends at \(end)",
        context: file.path
      )
    }
    guard !contiguous || tensor.offset == end else {
      throw ModelFilesError(
        .format,
        "\(tensor.offset - end) bytes before tensor \(tensor.name) belong to no tensor",
        context: file.path
      )
    }
    end = tensor.offset + tensor.byteCount
    last = "tensor \(tensor.name)"
  }
  guard !contiguous || end == file.size else {
    throw ModelFilesError(
      .format,
      "\(file.size - end) bytes after \(last) belong to no tensor",
      context: file.path
    )
  }
}
