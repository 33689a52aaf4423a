import ArgumentParser
import Inkstone

extension KeyValueType: ExpressibleByArgument {}

/// How keys and values are kept.
struct CacheTypeOptions: ParsableArguments {
  @Option(
    name: [.customLong("ctk", withSingleDash: true), .customLong("cache-type-k")],
    help: ArgumentHelp("Keep keys as f32, f16 or q8_0.", valueName: "type"))
  var keys: KeyValueType = .f32

  @Option(
    name: [.customLong("ctv", withSingleDash: true), .customLong("cache-type-v")],
    help: ArgumentHelp("Keep values as f32, f16 or q8_0.", valueName: "type"))
  var values: KeyValueType = .f32

  /// Both.
  var types: KeyValueTypes { KeyValueTypes(keys: keys, values: values) }
}
