import Checkpoints

/// Where a decoder's weights come from: the files of a checkpoint, or memory.
protocol WeightSource {
  /// What a message calls the whole of it.
  var path: String { get }
  /// The names of all tensors.
  var tensorNames: [String] { get }
  /// The extents of a tensor; `nil` when there is none of that name.
  func shape(of name: String) -> [Int]?
  /// The file that holds a tensor.
  func path(of name: String) -> String
  /// The elements of a tensor that is there, row-major, and what keeps them in memory.
  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject)
  /// A tensor that is there as a matrix that can be read in pieces; nothing where only the whole can be had.
  func matrix(of name: String) throws -> (any StoredMatrix)?
  /// The files, as far as they are mapped.
  var mappedFiles: [MappedFile] { get }
}

extension WeightSource {
  func matrix(of name: String) throws -> (any StoredMatrix)? { nil }
  var mappedFiles: [MappedFile] { [] }
}

extension Checkpoint: WeightSource {
  var mappedFiles: [MappedFile] { files.map(\.file) }

  func shape(of name: String) -> [Int]? { tensor(named: name)?.shape }

  func path(of name: String) -> String { tensor(named: name)?.path ?? path }

  /// In place when the file holds `Float`s, else converted once.
  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    guard let record = tensor(named: name) else { throw DecoderError.missingTensor(path: path, name: name) }
    try record.checkFinite()
    if let floats = record.floatsWithoutCopy?.baseAddress { return (floats, record.file) }
    let copy = FloatBuffer(count: record.elementCount)
    try record.copyFloats(into: copy.elements)
    record.dontNeed()
    return (UnsafePointer(copy.elements.baseAddress!), copy)
  }

  func matrix(of name: String) throws -> (any StoredMatrix)? {
    tensor(named: name).flatMap { RecordMatrix($0) }
  }
}

/// What a model says about itself, and its weights.
///
/// - Parameter path: a folder in Hugging Face's layout, or a GGUF file.
func openModel(_ path: String) throws -> (description: ModelDescription, source: any WeightSource) {
  if GGUFFile.recognises(path) {
    let model = try GGUFModel(path: path)
    return (model.description, model)
  }
  return (try ModelDescription.load(from: path), try Checkpoint(path: path))
}
