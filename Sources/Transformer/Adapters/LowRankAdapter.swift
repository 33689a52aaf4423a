import Checkpoints
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Why an adapter cannot be used.
public struct AdapterError: Error, Equatable, CustomStringConvertible {
  /// The folder or file.
  public let path: String
  /// What is wrong, and the fix.
  public let reason: String

  /// One line.
  public var description: String { "\(path): \(reason)" }

  package init(path: String, reason: String) {
    self.path = path
    self.reason = reason
  }
}

/// What an adapter of low rank changes in a model: W + s·B·A in place of W, as PEFT saves it.
///
/// The folder holds `adapter_config.json` and `adapter_model.safetensors`. Read are plain and rank-stabilised LoRA with
/// patterns of alpha, adapters of embeddings, whole modules (`modules_to_save`) and biases; other methods are refused.
///
/// - SeeAlso: arXiv:2106.09685; https://huggingface.co/docs/peft, 0.21
public struct LowRankAdapter: Sendable {
  /// One matrix's change.
  struct Change: Sendable {
    /// A, (r, inputs).
    let a: TensorRecord
    /// B, (outputs, r).
    let b: TensorRecord
    /// s.
    let scale: Double
    /// Whether the matrix is a table, whose rows are A's columns.
    let isEmbedding: Bool
  }

  /// The folder.
  public let path: String
  /// By transformers' name of the module.
  let changes: [String: Change]
  /// Tensors that take the place of the model's, by transformers' name.
  let replacements: [String: TensorRecord]

  /// How many matrices it changes.
  public var changeCount: Int { changes.count + replacements.count }

  private static let root = "base_model.model."

  /// Whether a folder holds an adapter.
  public static func exists(in folder: String) -> Bool {
    fileExists((folder.hasSuffix("/") ? folder : folder + "/") + "adapter_config.json")
  }

  /// The model that a folder's adapter belongs to; `nil` for a folder that is a model itself, or none.
  ///
  /// It is what `base_model_name_or_path` names: a path, or else the folder of that name beside the adapter's.
  /// - Throws: `AdapterError` when there is no such folder.
  public static func baseModel(of folder: String) throws -> String? {
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    guard exists(in: folder), !fileExists(base + "config.json") else { return nil }
    let path = base + "adapter_config.json"
    guard let name = try JSONDocument.load(path)["base_model_name_or_path"]?.string, !name.isEmpty else {
      throw AdapterError(
        path: path, reason: "base_model_name_or_path names no model; give the model with -m, this with --lora"
      )
    }
    let beside = base + "../" + (name.split(separator: "/").last.map(String.init) ?? name)
    guard let found = [name, beside].first(where: { fileExists($0 + "/config.json") }) else {
      throw AdapterError(
        path: path,
        reason:
          "base_model_name_or_path is \(name.debugDescription), which is neither a model's folder nor one "
          + "beside this; give the model with -m, this with --lora")
    }
    return found
  }

  /// Opens an adapter.
  ///
  /// - Throws: `AdapterError`, or an error of `Checkpoints`, that names the file and the field or tensor.
  public static func load(from folder: String) throws -> LowRankAdapter {
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    guard folderExists(folder) else { throw FileError.missing(path: folder) }
    let configurationPath = base + "adapter_config.json"
    guard fileExists(configurationPath) else {
      throw AdapterError(
        path: folder,
        reason: "holds no adapter_config.json; give a folder that inkstone finetune --lora or PEFT wrote")
    }
    let settings = try Settings(try JSONDocument.load(configurationPath), path: configurationPath)
    let path = base + "adapter_model.safetensors"
    guard fileExists(path) else {
      throw AdapterError(
        path: folder, reason: "holds no adapter_model.safetensors; a .bin must be saved as safetensors first")
    }
    var matrices: [String: (a: TensorRecord?, b: TensorRecord?, isEmbedding: Bool)] = [:]
    var replacements: [String: TensorRecord] = [:]
    func refuse(_ name: String, _ reason: String) -> AdapterError {
      AdapterError(path: path, reason: "tensor \(name.debugDescription.dropFirst().dropLast()): \(reason)")
    }
    for record in try SafetensorsFile(path: path).tensors {
      guard record.name.hasPrefix(root) else { throw refuse(record.name, "its name must begin with \(root)") }
      let name = String(record.name.dropFirst(root.count))
      try record.checkFinite()
      if let (module, isFirst, isEmbedding) = part(name) {
        guard record.shape.count == 2, record.shape.allSatisfy({ $0 > 0 }) else {
          throw refuse(record.name, "has the shape \(record.shape) and must have two extents")
        }
        var matrix = matrices[module] ?? (nil, nil, isEmbedding)
        guard (isFirst ? matrix.a : matrix.b) == nil, matrix.isEmbedding == isEmbedding else {
          throw refuse(record.name, "is there twice")
        }
        if isFirst { matrix.a = record } else { matrix.b = record }
        matrices[module] = matrix
      } else if name.contains("lora_") {
        throw refuse(record.name, "is of a kind of adapter that is not supported; only lora_A and lora_B are")
      } else {
        replacements[name.replacing(".modules_to_save", with: "").replacing(".base_layer", with: "")] = record
      }
    }
    var changes: [String: Change] = [:]
    for (module, matrix) in matrices {
      guard let a = matrix.a, let b = matrix.b else {
        throw refuse(root + module, "has only one of lora_A and lora_B")
      }
      guard a.shape[0] == b.shape[1] else {
        throw refuse(
          b.name, "has the shape \(b.shape) and must have as many columns as lora_A has rows, \(a.shape[0])")
      }
      if let rank = settings.rank, rank != a.shape[0] {
        throw refuse(
          root + module,
          "has rank \(a.shape[0]), and adapter_config.json says \(rank); they belong to different adapters")
      }
      let scale = settings.scale(of: module, rank: a.shape[0])
      changes[module] = Change(a: a, b: b, scale: scale, isEmbedding: matrix.isEmbedding)
    }
    guard !changes.isEmpty || !replacements.isEmpty else {
      throw AdapterError(path: path, reason: "holds no tensors")
    }
    return LowRankAdapter(path: folder, changes: changes, replacements: replacements)
  }

  /// What a tensor's name says, when it is one of an adapter's two matrices.
  private static func part(_ name: String) -> (module: String, isFirst: Bool, isEmbedding: Bool)? {
    for (suffix, isFirst, isEmbedding) in [
      (".lora_A.weight", true, false), (".lora_B.weight", false, false), (".lora_embedding_A", true, true),
      (".lora_embedding_B", false, true), (".lora_A.default.weight", true, false),
      (".lora_B.default.weight", false, false),
    ] where name.hasSuffix(suffix) {
      return (String(name.dropLast(suffix.count)), isFirst, isEmbedding)
    }
    return nil
  }

  /// What `adapter_config.json` says about scales.
  private struct Settings {
    let alpha: Double
    let isRankStabilized: Bool
    let alphas: [(pattern: String, alpha: Double)]
    /// `r`; `nil` where it is missing or `rank_pattern` gives modules their own.
    let rank: Int?

    init(_ document: JSONValue, path: String) throws {
      func refuse(_ field: String, _ reason: String) -> AdapterError {
        AdapterError(path: path, reason: "\(field) \(reason)")
      }
      guard document["peft_type"]?.string == "LORA" else {
        throw refuse("peft_type", "must be LORA, is \(document["peft_type"]?.text() ?? "missing")")
      }
      for field in ["use_dora", "use_qalora", "use_bdlora"] where document[field]?.bool == true {
        throw refuse(field, "is true, and such adapters are not supported; only LoRA is")
      }
      for field in [
        "layer_replication", "alora_invocation_tokens", "trainable_token_indices", "arrow_config",
        "kasa_config", "monteclora_config", "velora_config",
      ] where !(document[field]?.isNull ?? true) {
        throw refuse(field, "is set, and such adapters are not supported; only LoRA is")
      }
      if let targets = document["target_parameters"]?.array, !targets.isEmpty {
        throw refuse("target_parameters", "is set, and only adapters of whole modules are supported")
      }
      // These change the base model when PEFT begins, so the adapter alone does not say what the model is.
      let start = document["init_lora_weights"]?.string ?? ""
      for kind in ["pissa", "olora", "corda", "loftq", "lora_ga"] where start.hasPrefix(kind) {
        throw refuse(
          "init_lora_weights",
          "is \(start): the adapter belongs to a changed base model; save it with path_initial_model_for_weight_conversion"
        )
      }
      guard let alpha = document["lora_alpha"]?.double ?? (document["lora_alpha"] == nil ? 8 : nil),
        alpha.isFinite
      else { throw refuse("lora_alpha", "must be a number, is \(document["lora_alpha"]?.text() ?? "")") }
      self.alpha = alpha
      let hasOwnRanks = document["rank_pattern"]?.object.map { !$0.members.isEmpty } ?? false
      if let value = document["r"] {
        guard let rank = value.int, rank > 0 else {
          throw refuse("r", "must be a whole number above 0, is \(value.text())")
        }
        self.rank = hasOwnRanks ? nil : rank
      } else {
        rank = nil
      }
      isRankStabilized = document["use_rslora"]?.bool ?? false
      alphas = try (document["alpha_pattern"]?.object?.members ?? []).map { member in
        guard let alpha = member.value.double, alpha.isFinite else {
          throw refuse("alpha_pattern.\(member.key)", "must be a number, is \(member.value.text())")
        }
        let pattern = member.key.replacing("\\.", with: ".")
        guard !pattern.dropFirst().contains(where: { "*+?[](){}|\\^".contains($0) }) else {
          throw refuse(
            "alpha_pattern", "has \(member.key); only names of modules are supported, no expressions")
        }
        return (pattern.last == "$" ? String(pattern.dropLast()) : pattern, alpha)
      }
    }

    /// s = α/r, or α/√r where ranks are to be stable (arXiv:2312.03732).
    func scale(of module: String, rank: Int) -> Double {
      let own = alphas.first { entry in
        entry.pattern.hasPrefix("^")
          ? module == entry.pattern.dropFirst()
          : module == entry.pattern || module.hasSuffix("." + entry.pattern)
      }
      return (own?.alpha ?? alpha) / (isRankStabilized ? Double(rank).squareRoot() : Double(rank))
    }
  }
}
