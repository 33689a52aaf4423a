/// Copies some heads of new keys and values to their places in a cache, in the types that it keeps.
///
/// - Parameters:
///   - keys: (R, G·D), all rows of the pass.
///   - values: (R, G·D).
///   - segment: which of the rows, and where they go.
///   - layer: of the segment's layers.
func storeKeyValues(
  keys: MatrixView, values: MatrixView, segment: AttentionSegment, layer: KeyValueLayer,
  shape: AttentionShape, heads: Range<Int>
) {
  let dimension = shape.headDimension
  let (keySize, valueSize) = (
    layer.keyType.byteCount(dimension: dimension), layer.valueType.byteCount(dimension: dimension)
  )
  precondition(
    keys.columns == shape.keyValueWidth && values.columns == shape.keyValueWidth
      && keys.rows == values.rows && segment.rows.upperBound <= keys.rows
      && segment.rows.count == segment.writes.reduce(0) { $0 + $1.count },
    "(\(keys.rows), \(keys.columns)) keys for \(segment.writes.count) runs of places")
  for head in heads {
    var row = segment.rows.lowerBound
    for run in segment.writes {
      for position in run.start..<run.start + run.count {
        let place = layer.place(slot: run.slot, head: head, position: position)
        layer.keyType.encode(
          keys.row(row) + head * dimension, dimension: dimension, to: layer.keys + place * keySize)
        layer.valueType.encode(
          values.row(row) + head * dimension, dimension: dimension, to: layer.values + place * valueSize)
        row += 1
      }
    }
  }
}
