// Every limit of the wire, with its reason. The sender keeps to them and the receiver checks them, so
// no peer makes a process take more memory or do more work than is said here.

/// The largest things that are sent and read.
package enum Limits {
  // Frames

  /// A header frame: a million prompt tokens at five bytes each, twice over.
  package static let headerBytes = 16 << 20
  /// What unpacking one header may allocate in all.
  ///
  /// protobuf-c turns two bytes into an 80-byte struct
  /// if a hostile header asks for it; the largest honest one (`rows` of a step) takes 2 MiB.
  package static let unpackedBytes = 64 << 20
  /// One payload frame: 256 rows of logits over 262,144 tokens, or activations of 8,192 rows.
  package static let payloadBytes = 256 << 20
  /// All payload frames of one message.
  package static let totalPayloadBytes = 512 << 20
  /// Payload frames of one message: activations, and keys and values of shared layers.
  package static let payloads = 64

  // Texts, in bytes of UTF-8

  /// Names of workers, devices, models and versions.
  package static let nameBytes = 256
  /// An endpoint: a socket's path or a host name, and the scheme.
  package static let endpointBytes = 512
  /// Sentences for people.
  ///
  /// The sender cuts longer ones.
  package static let proseBytes = 16 << 10
  /// A prompt, or a generated text: a million tokens of eight bytes.
  package static let textBytes = 8 << 20
  /// One stop string.
  package static let stopBytes = 4 << 10
  /// A grammar, or a schema, that an answer must conform to.
  package static let grammarBytes = 1 << 20
  /// The path of an ipc socket: `sun_path` of unix(7) is 108 bytes with the final NUL.
  package static let socketPathBytes = 107

  /// The text of one token, of which no more is told; Gemma's longest have about a hundred bytes.
  package static let pieceBytes = 1 << 10

  // Weights

  /// A piece of a model file.
  ///
  /// What is sent before anything else gets its turn on the socket: a quarter of a millisecond of
  /// encryption, two of a gigabit link.
  package static let chunkBytes = 256 << 10
  /// Pieces of one file.
  package static let chunks = 1 << 24
  /// A model file: 4 TiB.
  package static let fileBytes = UInt64(chunks) * UInt64(chunkBytes)
  /// Files of a model: a thousand shards and what describes them.
  package static let modelFiles = 2048
  /// All files of a model: 1 TiB, four times Gemma's largest in f32.
  package static let modelBytes = UInt64(1) << 40
  /// What says where the tensors are, in all files of a model.
  ///
  /// A safetensors header has at most 100 MB by its format, a GGUF file's vocabulary some 10 MB.
  package static let modelHeaderBytes = UInt64(1) << 30
  /// Pieces of one file's list of digests: one for each 2 GiB.
  package static let digestChunks = chunks / digestsPerChunk
  /// Digests in a piece of a list of them.
  package static let digestsPerChunk = chunkBytes / 32
  /// A file's name: NAME_MAX of Linux.
  package static let fileNameBytes = 255
  /// Pieces that one peer may have asked for and not received, and that are sent to it before it has
  /// said that earlier ones have come.
  ///
  /// 2 MiB: what a gigabit link holds at a round trip of 16 ms.
  package static let pulls = 8

  // Keys

  /// A key in Z85: 32 bytes, five characters for four.
  package static let keyBytes = 40
  /// The name of a key in a file: shorter than a key, so that neither is taken for the other.
  package static let keyNameBytes = 32
  /// A file of keys: about a thousand lines of a key and a name.
  package static let keyFileBytes = 64 << 10

  // Counts and indices, all inclusive

  /// Bounds of counted times, and one count more.
  package static let latencyCounts = 32
  /// Codes of failed requests.
  package static let failureCodes = 32
  /// Messages of one conversation.
  ///
  /// A template takes about forty of its million steps for each, that of Gemma 4 more (`TemplateRun`).
  package static let messages = 4096
  /// Tokens of one prompt or evaluation.
  package static let tokens = 1 << 20
  /// Biases of one request; they go with each of its draws.
  package static let biases = 1024
  /// Tokens that a model's files forbid in answers; Gemma 4 has some ten.
  package static let suppressedTokens = 4096
  /// The bits of one mask: one for each token of a vocabulary.
  package static let maskBytes = vocabulary / 8
  /// The likeliest tokens that are told of one that is drawn: as many as OpenAI's interface gives.
  package static let likeliest = 20
  /// Rows of one step.
  package static let rows = 8192
  package static let stops = 64
  /// Functions that one request may call: as many as OpenAI's interface takes.
  package static let tools = 128
  /// Ops and types of weights that a device tells of: there are some thirty of each.
  package static let capabilities = 256
  /// Requests that one client waits for at once.
  package static let awaited = 4096
  package static let workers = 256
  package static let stages = 256
  /// Layers of a model; Gemma's largest has 62.
  package static let layers = 4096
  /// Messages of keys and values in one change of epoch: one a slot and layer, 64 layers of all slots.
  package static let kvMessages = 1 << 22
  /// Slots of a KV cache, and their numbers.
  package static let slots = 1 << 16
  /// Positions of a session, and how many tokens a context holds.
  package static let positions = 1 << 24
  package static let vocabulary = 1 << 24
  package static let threads = 1 << 16
  /// Sessions, and requests that wait.
  package static let queue = 1 << 24
  /// Process ids: `PID_MAX_LIMIT` of Linux is 4 Mi; other systems go to the largest `pid_t`.
  package static let pids = Int(Int32.max)
  /// Intervals and ages: 24 days.
  package static let milliseconds = Int(Int32.max)
}
