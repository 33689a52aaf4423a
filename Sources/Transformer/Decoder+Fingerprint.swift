import Kernels

extension Decoder {
  /// A number that tells models apart: of the settings that change keys and values, and of samples of every matrix.
  ///
  /// Two models that differ in a few single weights only may have the same.
  var fingerprint: UInt64 {
    var hash = StreamHash()
    let settings =
      "\(configuration.modelType) \(configuration.vocabularySize) \(configuration.hiddenSize) \(configuration.attention) "
      + "\(configuration.layers) \(configuration.rotaryEmbeddings) \(configuration.attentionScale) "
      + "\(configuration.activation) \(configuration.normalization) \(String(describing: configuration.attentionSoftCap)) "
      + "\(String(describing: configuration.positionBias)) \(configuration.residualScale) \(configuration.embeddingScale)"
    Array(settings.utf8).withUnsafeBytes { hash.update($0) }
    func add(_ weight: LinearWeight) {
      // Thirty-two rows (or columns) of the matrix, spread over it.
      var row = [Float](repeating: 0, count: weight.inputs)
      for sample in 0..<32 {
        let output = (weight.outputs - 1) * sample / 31
        switch weight.storage {
        case .packed(let packed):
          row.withUnsafeMutableBufferPointer { packed.copyRow(output, into: $0.baseAddress!) }
        case .floats(let values, .outputMajor):
          for input in 0..<weight.inputs { row[input] = values[output * weight.inputs + input] }
        case .scattered(let matrix):
          let values = matrix.row(output)
          for input in 0..<weight.inputs { row[input] = values[input] }
        case .floats(let values, .inputMajor):
          for input in 0..<weight.inputs { row[input] = values[input * weight.outputs + output] }
        }
        row.withUnsafeBytes { hash.update($0) }
      }
    }
    for block in weights.blocks {
      add(block.queryKeyValue)
      add(block.attentionOutput)
      switch block.feedForward {
      case .dense(let maps):
        add(maps.input)
        add(maps.output)
      case .experts(let router, let experts):
        add(router)
        for maps in experts {
          add(maps.input)
          add(maps.output)
        }
      }
    }
    add(weights.head)
    return hash.value
  }
}
