/// The element-wise nonlinearity of a feed-forward block.
///
/// - SeeAlso: `ACT2FN` in Hugging Face transformers 5.23, whose functions these equal.
public enum Activation: String, Sendable, CaseIterable {
  /// x·Φ(x) = ½x(1 + erf(x/√2)).  arXiv:1606.08415
  case gelu
  /// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).  arXiv:1606.08415
  case geluTanh
  /// min(x·Φ(x), 10).  arXiv:2004.09602
  case geluClipped
  /// x·σ(1.702x).
  case quickGELU
  /// max(x, 0).
  case relu
  /// max(x, 0)².  arXiv:2109.08668
  case reluSquared
  /// min(max(x, 0), 6).
  case relu6
  /// x when x > 0, else 0.01x.
  case leakyReLU
  /// x·σ(x), also called swish.  arXiv:1710.05941
  case silu
  /// x·min(max(x + 3, 0), 6)/6.  arXiv:1905.02244
  case hardSwish
  /// σ(x) = 1/(1 + e⁻ˣ).
  case sigmoid
  /// tanh x.
  case tanh
  /// x·tanh(ln(1 + eˣ)).  arXiv:1908.08681
  case mish
  /// x when x > 0, else eˣ − 1.  arXiv:1511.07289
  case elu
  /// Φ((x − 0.707107)/0.282095).  arXiv:2209.10655
  case laplace
  /// √ln(1 + eˣ).
  case squareRootSoftplus
  /// x.
  case linear
}

extension Activation {
  /// Every name that `config.json` may use, with its function.
  ///
  /// Several names are the same function written in several ways, whose values differ by rounding.
  private static let named: KeyValuePairs<String, Activation> = [
    "gelu": .gelu,
    "gelu_10": .geluClipped,
    "gelu_accurate": .geluTanh,
    "gelu_fast": .geluTanh,
    "gelu_new": .geluTanh,
    "gelu_python": .gelu,
    "gelu_python_tanh": .geluTanh,
    "gelu_pytorch_tanh": .geluTanh,
    "hardswish": .hardSwish,
    "laplace": .laplace,
    "leaky_relu": .leakyReLU,
    "linear": .linear,
    "mish": .mish,
    "quick_gelu": .quickGELU,
    "relu": .relu,
    "relu2": .reluSquared,
    "relu6": .relu6,
    "sigmoid": .sigmoid,
    "silu": .silu,
    "sqrtsoftplus": .squareRootSoftplus,
    "swish": .silu,
    "tanh": .tanh,
    // Not in ACT2FN, but in the configurations of other libraries.
    "elu": .elu,
  ]

  /// The names that `init(named:)` knows, for a message to who used another.
  ///
  /// `prelu` and `xielu` of `ACT2FN` are not among them: they have parameters of their own.
  public static var knownNames: [String] { named.map(\.key) }

  /// The function of a name in `config.json`, such as `gelu_new`; `nil` for an unknown one.
  public init?(named name: String) {
    guard let known = Activation.named.first(where: { $0.key == name }) else { return nil }
    self = known.value
  }
}
