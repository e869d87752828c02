// Advice about keys for a user who gets no answer.

package import Wire

/// Returns what may be wrong with the keys when no answer comes; empty if the endpoint uses no
/// keys.
///
/// A server does not tell a peer that its key is unknown, so that strangers learn nothing about the
/// list of keys. Therefore only guesses are possible here.
package func keyAdvice(_ security: Security, _ endpoint: Endpoint) -> String {
  guard let key = security.publicKey(at: endpoint) else { return "" }
  return
    "; is one listening there? It may also not know this machine's key (there: trestle keys allow "
    + "'\(key)'), or have another key than --server-key says"
}
