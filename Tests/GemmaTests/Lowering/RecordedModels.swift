// What was recorded of the golden models, in both file formats: their fingerprints, and digests of the
// programs that they are lowered to. A digest changes when an op is added or changed on purpose, and
// then in every model that has it; a fingerprint never does.

import Foundation
import Gemma
import TestSupport
import Testing

/// A model, and what was recorded of it.
struct RecordedModel: Sendable, CustomTestStringConvertible {
  var name: String
  var fingerprint: String
  /// By the cut's name, the first half of a digest.
  var programs: [String: String]

  var testDescription: String { name }

  /// Calls the body with the model opened.
  func open(_ body: (Checkpoint) throws -> Void) throws {
    switch name {
    case "tiny-gemma3.gguf": try body(try openModel(TinyModel.gemma3.gguf))
    case "tiny-gemma4.gguf": try body(try openModel(TinyModel.gemma4.gguf))
    case "tiny-gemma3n.gguf": try body(try openModel(TinyModel.gemma3n.gguf))
    default: try body(try Checkpoint.open(Goldens.checkpoint(name).path))
    }
  }

  static let all: [RecordedModel] = [
    RecordedModel(
      name: "demo-model",
      fingerprint: "f25068403c38a9b2af9e21168d9015ba2de91d4e0ba24017f75c5f7d61a06836",
      programs: [
        "whole": "70cbad2549d53d27efb323079feb5dda",
        "layerByLayer": "4bedf08fce143801d68f5e6b1803aad1",
        "halves": "153c6e887b465c4f7bc5d0cc7ce0dd3f",
        "vocabulary": "1cb6ab44aa34b932f0a267733694d708",
        "passesAllLayers": "8b66bed1507f8d2a6ec6110f988fbbed",
      ]
    ),
    RecordedModel(
      name: "gemma3-random-a",
      fingerprint: "dc130059b72567aaa53a5f0aaaa5a46cfd595295b1741db4a4f3a17815bfd8ad",
      programs: [
        "whole": "3cf1d11c987ea76def803da388133e48",
        "layerByLayer": "187674f323f19ba4d5277ca0b6468c0a",
        "halves": "a21c8fe25f89cd2f1322e8a1829fed59",
        "vocabulary": "6c4b5a60bdf7a0e9eeaa8e0c2c977124",
        "passesAllLayers": "3b8c548a207c5d06758d953f9dea17c1",
      ]
    ),
    RecordedModel(
      name: "gemma3-random-b",
      fingerprint: "e52daad40c11defa91fd117605373662c9af57920261986d8cc33c8cbefb4e82",
      programs: [
        "whole": "5d9c0f4fc33a442415dc674dab0812aa",
        "layerByLayer": "801377903ee37eba73bdf4e32856784d",
        "halves": "c335e27c8cccdc0e8c8447156fc1cc89",
        "vocabulary": "a8701c79b5334b5127d18ca9b6f5ec59",
        "passesAllLayers": "72c1337e0bdb9711f20a03af355fa5cf",
      ]
    ),
    RecordedModel(
      name: "gemma3n-random-a",
      fingerprint: "8726cb862b1fd9ec3f1fd0464db7b26fdc81a194ea4dda6a09d89d06cba3ee53",
      programs: [
        "whole": "380733613acab74b96071470ba3a1b07",
        "layerByLayer": "e922c9a99adaf06b1b74529ba0af067d",
        "halves": "4bc67a5035409243aed0e1f599f08452",
        "vocabulary": "a73ad701abe843d61a5aaf570c640488",
        "passesAllLayers": "b2638573220f8bbb4f332b8f9cc39eab",
      ]
    ),
    RecordedModel(
      name: "gemma3n-random-b",
      fingerprint: "6970e5951f52071afa9b6719da539ebf01a864dcb0ad7f2faa8f6d37ac94a2bf",
      programs: [
        "whole": "3489c007bc61a025959f32deb3b89f62",
        "layerByLayer": "b4ced0e8315238b4e239fa07e7ad405b",
        "halves": "3e0acc1ca53be7d3ce25edcaa57ec11d",
        "vocabulary": "e51ced548decd8cc444a22506a0177ad",
        "passesAllLayers": "86e4abee693e73e12d7f511f0cb1fe96",
      ]
    ),
    RecordedModel(
      name: "gemma3n-random-c",
      fingerprint: "35ada8b2168cf52b126a95100779fb9c1de47d8872dd8d65823ba469a66f7d7c",
      programs: [
        "whole": "7d6f967066160a21b3e82282ac172659",
        "layerByLayer": "411468dec9eec80e1bf17857bac06969",
        "halves": "9ed3739963708a6566832121438ec246",
        "vocabulary": "0d3bd48aa9582be43fc5a17145c93f93",
        "passesAllLayers": "4ba7594d38f945fd4d7ad32f8595f6e2",
      ]
    ),
    RecordedModel(
      name: "gemma4-random-a",
      fingerprint: "5c99b6ef011246918e6648dbf8e94d03d6294cc0d00ab8bb61db79b86e21fa4b",
      programs: [
        "whole": "a95ee5e677bed08ac9d1924f94a331cb",
        "layerByLayer": "f3ce1cbf1a83e36949489247d179f018",
        "halves": "f851051349ef1daef8d3a73c00d16756",
        "vocabulary": "7e49c60a28acc68d764b479959f95d37",
        "passesAllLayers": "3c1f1ab54f34c38569eac2f9b91651d9",
      ]
    ),
    RecordedModel(
      name: "gemma4-random-b",
      fingerprint: "9e740bcfd8eb80222531e235f803375f03cd1da9500c58b47dfc8ca4f591e88e",
      programs: [
        "whole": "28e20c48d705e766bc772be46c560341",
        "layerByLayer": "facb47398a8ec8ae706c3bc006966e64",
        "halves": "293946253d5a02f5fb5d7845da3262dc",
        "vocabulary": "a98e2443bc9a9da273673cf85d906f41",
        "passesAllLayers": "4bb6305dbd01f9925628d3f027351ed3",
      ]
    ),
    RecordedModel(
      name: "gemma4-random-c",
      fingerprint: "b38e946f799fe39e3ecea3a31a7c033f3eb7baeecba339bad9a1e9bf0dac78d8",
      programs: [
        "whole": "6ed3d804656200284ba60ae32c48c845",
        "layerByLayer": "a3c9dfedb2507a7925fb06845b53b198",
        "halves": "a35ef956fb46e9e554183e96ea989591",
        "vocabulary": "8b5d20b8e598b524fe5644aa6543253b",
        "passesAllLayers": "6d3ce15bb8a65d1ff37f0a18058f55d2",
      ]
    ),
    RecordedModel(
      name: "tiny-gemma3.gguf",
      fingerprint: "034c2458f5651394617125c7232fbc283ebaf2779eedd7785f4d3ef52cc64665",
      programs: [
        "whole": "c9c59e604776ff60008dd29a380100e3",
        "layerByLayer": "81bbd53bcf0722df41d282d4e6caec4e",
        "halves": "b86a6a34087c69d9a13cbdd4510ca10a",
        "vocabulary": "422c7eb2c9e849a2052b2c83196137d3",
        "passesAllLayers": "f638b16290983c0fa3bdd87762cc878c",
      ]
    ),
    RecordedModel(
      name: "tiny-gemma3n.gguf",
      fingerprint: "33aa61c41d2f2045aaf3fd993980a9f3c652f4102f819c8026a22ffb0e122c95",
      programs: [
        "whole": "62559f69a43a5a07e1a94ab98af496af",
        "layerByLayer": "1df6810df8a3970d9a8f3d12af35c7c7",
        "halves": "8a205ad5661d072e02e851d269654872",
        "vocabulary": "3ae122e8161e7cb95159ff856d34bcb6",
        "passesAllLayers": "ad1531182d83b6c1640c9e4c099948ad",
      ]
    ),
    RecordedModel(
      name: "tiny-gemma4.gguf",
      fingerprint: "3adf09c3f76da85bdd889a223799d025a60fd753bde93c65e8316dc5cb707128",
      programs: [
        "whole": "97b92db9b234775a9e127485631a5b1c",
        "layerByLayer": "447268afe362f7f05337054a9f8f7527",
        "halves": "ab3b7c4e4c69ba58a1c89d98c15e9650",
        "vocabulary": "4e4474ca4baf72a139e11b11a7f72b89",
        "passesAllLayers": "f673345321aa062bbf83b3f95141ff54",
      ]
    ),
  ]
}
