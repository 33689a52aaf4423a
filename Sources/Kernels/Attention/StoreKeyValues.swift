/// Copies some heads of new keys and values to their places in a cache.
func storeKeyValues(
  keys: MatrixView, values: MatrixView, in layer: KeyValueLayer, at places: [KeyValueRun],
  shape: AttentionShape,
  heads: Range<Int>
) {
  let dimension = shape.headDimension
  precondition(
    keys.columns == shape.keyValueWidth && values.columns == shape.keyValueWidth
      && keys.rows == values.rows && keys.rows == places.reduce(0) { $0 + $1.count },
    "(\(keys.rows), \(keys.columns)) keys for \(places.count) runs of places")
  for head in heads {
    var row = 0
    for place in places {
      var target = place.slot * layer.slotStride + head * layer.headStride + place.start * dimension
      for _ in 0..<place.count {
        (layer.keys + target).update(from: keys.row(row) + head * dimension, count: dimension)
        (layer.values + target).update(from: values.row(row) + head * dimension, count: dimension)
        target += dimension
        row += 1
      }
    }
  }
}
