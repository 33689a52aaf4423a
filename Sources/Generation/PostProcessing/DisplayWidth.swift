extension Character {
  /// Columns that a terminal gives the character: two for Chinese, Japanese and Korean letters and for emoji, none for
  /// marks that stand alone and for control characters.
  public var columnCount: Int {
    var columns = 0
    for scalar in unicodeScalars {
      // The selector of emoji presentation, and the letters that pair up to flags.
      if scalar.value == 0xFE0F || (0x1F1E6...0x1F1FF).contains(scalar.value) { return 2 }
      columns = max(columns, scalar.columnCount)
    }
    return columns
  }
}
