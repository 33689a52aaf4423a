import Checkpoints

/// The settings of a model in a GGUF file: one that is read, or one that is about to be written.
///
/// What is written is read back through this before a byte reaches the disk, so that nothing is lost unnoticed.
protocol GGUFSettings {
  /// A whole number; `nil` when the key is absent.
  func integer(_ key: String) throws -> Int?
  /// A number of any kind.
  func number(_ key: String) throws -> Double?
  /// A truth value.
  func boolean(_ key: String) throws -> Bool?
  /// A text.
  func string(_ key: String) throws -> String?
  /// Whole numbers.
  func integers(_ key: String) throws -> [Int]?
  /// Truth values.
  func booleans(_ key: String) throws -> [Bool]?
  /// Whether the value of a key is an array.
  func isArray(_ key: String) -> Bool
  /// An error that names the file and the key.
  func error(_ key: String, _ fault: String) -> GGUFError
}

extension GGUFMetadata: GGUFSettings {
  func isArray(_ key: String) -> Bool { type(of: key)?.type == .array }
}

/// Keys and values in memory, in the order of the file.
struct GGUFSettingsList: GGUFSettings {
  /// What messages call the file.
  let path: String
  var values: [(key: String, value: GGUFValue)] = []

  private func value(_ key: String) -> GGUFValue? { values.last { $0.key == key }?.value }

  func integer(_ key: String) -> Int? {
    if case .uint32(let number)? = value(key) { Int(number) } else { nil }
  }

  func number(_ key: String) -> Double? {
    if case .float32(let number)? = value(key) { Double(number) } else { integer(key).map { Double($0) } }
  }

  func boolean(_ key: String) -> Bool? { if case .bool(let flag)? = value(key) { flag } else { nil } }

  func string(_ key: String) -> String? { if case .string(let text)? = value(key) { text } else { nil } }

  func integers(_ key: String) -> [Int]? {
    if case .integers(let numbers)? = value(key) { numbers.map { Int($0) } } else { nil }
  }

  func booleans(_ key: String) -> [Bool]? {
    if case .booleans(let flags)? = value(key) { flags } else { nil }
  }

  func isArray(_ key: String) -> Bool {
    switch value(key) {
    case .integers, .booleans, .floats, .strings: true
    default: false
    }
  }

  func error(_ key: String, _ fault: String) -> GGUFError {
    GGUFError(path: path, subject: .key(key), problem: .value(fault))
  }
}
