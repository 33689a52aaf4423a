/// The element-wise nonlinearity of a feed-forward block, under the names that `config.json` uses.
///
/// - SeeAlso: `ACT2FN` in Hugging Face transformers 5.23, whose functions these equal.
public enum Activation: String, Sendable, CaseIterable {
  /// ½x(1 + erf(x/√2)).  arXiv:1606.08415
  case gelu
  /// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
  case geluTanh
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
  /// σ(x) = 1/(1 + e⁻ˣ).
  case sigmoid
  /// tanh x.
  case tanh
  /// x·tanh(ln(1 + eˣ)).  arXiv:1908.08681
  case mish
  /// x when x > 0, else eˣ − 1.
  case elu
  /// x.
  case linear
}
