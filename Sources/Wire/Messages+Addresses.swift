// Where messages say that something is to be sent: an endpoint and its key as one address.

extension Assign {
  /// The stage to hand off to; nil for the last one.
  ///
  /// - Throws: `WireError` if the endpoint is none.
  package func next() throws(WireError) -> PeerAddress? {
    nextEndpoint.isEmpty ? nil : PeerAddress(try Endpoint(nextEndpoint), key: nextKey)
  }
}

extension KVExport {
  /// Where to send the keys and values.
  ///
  /// - Throws: `WireError` if the endpoint is none.
  package func address() throws(WireError) -> PeerAddress {
    PeerAddress(try Endpoint(endpoint), key: key)
  }
}
