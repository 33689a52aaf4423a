import Kernels

/// A linear map within a decoder's blocks, and the modules of transformers' model that it is made of.
package struct AdaptableMap {
  /// One module: a band of the map's outputs.
  package struct Module {
    /// Its name in transformers, such as `model.layers.0.self_attn.q_proj`.
    package let name: String
    /// Its outputs among the map's.
    package let outputs: Range<Int>
    /// Channels in.
    package let inputs: Int
    /// Which of the module's outputs are which of the map's; targets count from the band's first.
    let runs: [Parameter.Run]

    /// The two matrices of an adapter, under the names that PEFT saves: A, (rank, inputs), and B, (outputs, rank).
    package func adapterParameters(rank: Int) -> (a: Parameter, b: Parameter) {
      let base = "base_model.model.\(name)."
      let a = Parameter.Piece(
        tensor: base + "lora_A.weight", shape: [rank, inputs],
        runs: [.init(source: 0, target: 0, count: rank)])
      let b = Parameter.Piece(tensor: base + "lora_B.weight", shape: [outputs.count, rank], runs: runs)
      return (
        Parameter(kind: .matrix, rows: rank, columns: inputs, pieces: [a]),
        Parameter(kind: .matrix, rows: outputs.count, columns: rank, pieces: [b])
      )
    }
  }

  /// The map, which a GGUF file may hold the other way round than the family's checkpoints.
  package let weight: LinearWeight
  /// How the family's checkpoints lay it out.
  package let layout: LinearWeight.Layout
  /// The modules, in the order of their outputs.
  package let modules: [Module]
}

extension Decoder {
  /// Loads a model whose weights stay as they are, and the table of their names.
  ///
  /// - Throws: what `load` throws.
  package static func open(_ folder: String) throws -> (decoder: Decoder, table: ParameterTable) {
    let (description, source) = try openModel(folder)
    try description.refuseUnknownSettings()
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: source)
    return (Decoder(description, weights: try loader.load()), loader.table)
  }

  /// The linear maps of the blocks, in the order of the forward pass; of a mixture of experts only attention's.
  package func adaptableMaps(_ table: ParameterTable) -> [AdaptableMap] {
    weights.blocks.enumerated().flatMap { layer, block in
      var slots: [(LayerSlot, LinearWeight)] = [
        (.queryKeyValue, block.queryKeyValue), (.attentionOutput, block.attentionOutput),
      ]
      if case .dense(let maps) = block.feedForward {
        slots += [(.feedForwardInput, maps.input), (.feedForwardOutput, maps.output)]
      }
      return slots.compactMap { table.adaptableMap($1, of: $0, layer: layer) }
    }
  }
}

extension ParameterTable {
  fileprivate func adaptableMap(_ weight: LinearWeight, of slot: LayerSlot, layer: Int) -> AdaptableMap? {
    guard let declaration = family.layerTensors(configuration, layer)[slot],
      let parameter = parameters(of: slot, declaration, layer: layer, expert: 0).first
    else { return nil }
    func name(_ piece: Parameter.Piece) -> String {
      let bare = piece.tensor.dropLast(declaration.suffix.count)
      return declaration.isPrefixed ? family.prefixes[0] + bare.dropFirst(prefix.count) : String(bare)
    }
    if declaration.layout == .inputMajor {
      let whole = Parameter.Run(source: 0, target: 0, count: weight.outputs)
      return AdaptableMap(
        weight: weight, layout: .inputMajor,
        modules: [
          .init(
            name: name(parameter.pieces[0]), outputs: 0..<weight.outputs, inputs: weight.inputs, runs: [whole]
          )
        ])
    }
    return AdaptableMap(
      weight: weight, layout: .outputMajor,
      modules: parameter.pieces.map { piece in
        let first = piece.runs.map(\.target).min() ?? 0
        let count = piece.runs.reduce(0) { $0 + $1.count }
        return .init(
          name: name(piece), outputs: first..<first + count, inputs: weight.inputs,
          runs: piece.runs.map { .init(source: $0.source, target: $0.target - first, count: $0.count) })
      })
  }
}
