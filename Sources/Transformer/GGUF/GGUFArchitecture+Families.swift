extension ModelDescription {
  /// What GGUF files call the architecture of a family; nothing where llama.cpp has none.
  public static func ggufArchitecture(ofModelType modelType: String) -> String? {
    GGUFArchitecture.all.first { $0.modelType == modelType }?.name
  }
}
