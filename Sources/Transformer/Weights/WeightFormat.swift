import Checkpoints
import Kernels

/// How a model's matrices are held in memory: what `--dtype` chooses.
///
/// Norms, biases, routers and embeddings of positions are always `Float`.
public enum WeightFormat: Sendable, Hashable {
  /// As the files have them, where products with that type are defined; `Float` otherwise.
  ///
  /// Weights are then exactly those of the files. F16 and BF16 meet activations in full, so that nothing is rounded that
  /// float32 would not round; quantised blocks meet activations of 8 bits, as in llama.cpp.
  case asStored
  /// As `Float`, whatever the files hold: the reference.
  case float32
  /// In one type, with the exceptions that llama.cpp makes: the head, and in `q4_K` the values of attention and the second
  /// feed-forward map of some layers, have more bits; rows that blocks do not divide fall back.
  case packed(WeightType)

  /// `auto`, `f32` and the names of the compact types.
  public static var names: [String] { ["auto", "f32"] + WeightType.allCases.map(\.rawValue) }

  /// The name that `--dtype` knows.
  public var name: String {
    switch self {
    case .asStored: "auto"
    case .float32: "f32"
    case .packed(let type): type.rawValue
    }
  }

  /// Finds a format by its name, in capitals or not.
  public init?(name: String) {
    switch name.lowercased() {
    case "auto": self = .asStored
    case "f32", "float32": self = .float32
    default:
      guard let type = WeightType.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() })
      else {
        return nil
      }
      self = .packed(type)
    }
  }
}

/// What a matrix does in the model, and how a checkpoint stores it.
package struct MatrixUse: Sendable {
  /// What it does.
  package enum Role: Sendable {
    case tokenEmbedding, head, queryKeyValue, attentionOutput, feedForwardInput, feedForwardOutput, router,
      projection

    init(_ slot: LayerSlot) {
      switch slot {
      case .queryKeyValue: self = .queryKeyValue
      case .attentionOutput: self = .attentionOutput
      case .feedForwardInput, .expertInput: self = .feedForwardInput
      case .feedForwardOutput, .expertOutput: self = .feedForwardOutput
      case .router: self = .router
      default: preconditionFailure("\(slot) is no matrix")
      }
    }
  }

  package let role: Role
  package var layer = 0
  package var layout = LinearWeight.Layout.outputMajor
}

/// Floats of a matrix where its file lies in memory.
package struct MatrixInPlace {
  enum Elements {
    /// (rows, columns) of the parameter.
    case rows(UnsafePointer<Float>)
    /// (columns, rows).
    case transposed(UnsafePointer<Float>)
    /// Rows in several places.
    case scattered(ScatteredMatrix)
  }

  /// The floats.
  let elements: Elements
  /// Told of the first product, where nobody has looked through it.
  var unseen: UnseenMatrix?
}

/// The types that llama.cpp's mixtures give the matrices of a model.
///
/// - SeeAlso: `llama_tensor_get_type` in llama.cpp; its `Q4_K_M` is `q4_K` here.
struct WeightMixture {
  let type: WeightType
  let layerCount: Int
  let expertCount: Int

  /// A layer among those whose values and second maps have more bits: the first eighth, the last, and every third between.
  static func deservesMoreBits(layer: Int, of count: Int) -> Bool {
    layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2
  }

  /// The type of a matrix, before rows that its blocks do not divide are thought of.
  ///
  /// - Parameters:
  ///   - part: of queries, keys and values: which, or nothing where a checkpoint has them in one tensor.
  func type(of role: MatrixUse.Role, layer: Int, part: Int? = nil) -> WeightType? {
    switch role {
    case .router: return nil
    case .head: return type == .q4_0 || type == .q5_0 || type == .q4_K || type == .q5_K ? .q6_K : type
    case .queryKeyValue where type == .q4_K:
      guard let part else { return .q5_K }
      guard part == 2 else { return .q4_K }
      return expertCount == 8
        ? .q8_0 : WeightMixture.deservesMoreBits(layer: layer, of: layerCount) ? .q6_K : .q4_K
    case .feedForwardOutput where type == .q4_K:
      return WeightMixture.deservesMoreBits(layer: layer, of: layerCount) ? .q6_K : .q4_K
    default: return type
    }
  }
}

extension WeightType {
  /// The type of the same name in files.
  package var tensorType: TensorType {
    switch self {
    case .f16: .f16
    case .bf16: .bf16
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    case .q5_0: .q5_0
    case .q4_K: .q4_k
    case .q5_K: .q5_k
    case .q6_K: .q6_k
    }
  }

  /// The type of the same name in memory; nothing when products with it are not defined.
  package init?(_ type: TensorType) {
    guard let found = WeightType.allCases.first(where: { $0.tensorType == type }) else { return nil }
    self = found
  }
}
