// The error of the machine's parts when one of their invariants does not hold. Tests and the
// simulation check the invariants after every event; the service itself does not.

/// An invariant between stored values that does not hold, which is a bug of this module.
struct BrokenInvariant: Error, CustomStringConvertible {
  let description: String
}

/// Throws unless an invariant holds; the message has the values at fault.
func require(
  _ holds: Bool,
  _ words: @autoclosure () -> String
) throws(BrokenInvariant) {
  guard !holds else { return }
  throw BrokenInvariant(description: words())
}
