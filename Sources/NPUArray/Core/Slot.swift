// Where instructions stand in a bundle.
//
// The core issues bundles of up to seven instructions, one a slot. This program writes the form of 16 bytes alone:
// then every bundle has a place for every slot, and addresses count bundles. It reads the shorter ones too, which
// have places for some slots (BundleFormat.swift).

/// A slot of a bundle.
package enum Slot: String, CaseIterable, Sendable, Hashable {
  /// Loads through the second port, and pointers.
  case ldb
  /// Loads through the first port, and pointers.
  case lda
  /// Stores.
  case st
  /// Integers, branches and locks.
  case alu
  /// Moves and vectors without products.
  case mv
  /// Constants of 32 bits and branches to addresses: takes the place of `alu` and `mv`.
  case lng
  /// Products of vectors.
  case vec

  /// The bits of its field.
  var width: Int {
    switch self {
    case .ldb: 16
    case .lda, .st: 21
    case .alu: 20
    case .mv: 22
    case .lng: 42
    case .vec: 26
    }
  }

  /// What the field holds where nothing is issued.
  var nop: UInt64 {
    switch self {
    case .ldb, .lda, .st, .alu, .lng: 0
    case .mv: 0x38
    case .vec: 0x1E0
    }
  }
}
