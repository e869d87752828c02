// How the parts of the coordinator's machine say that one of their promises does not hold. Tests and the
// simulation ask after every event; the service itself does not.

/// A promise between stored values that does not hold: a fault of this module's own code.
struct BrokenInvariant: Error, CustomStringConvertible {
  let description: String
}

/// Throws unless a promise holds; the words tell the values at fault.
func require(
  _ holds: Bool,
  _ words: @autoclosure () -> String
) throws(BrokenInvariant) {
  guard !holds else { return }
  throw BrokenInvariant(description: words())
}
