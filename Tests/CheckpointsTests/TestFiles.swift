/// A safetensors file of a header as given and some data.
func safetensors(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
  safetensors(headerByteCount: UInt64(header.utf8.count), Array(header.utf8), data)
}

/// A safetensors file that claims a header length.
func safetensors(headerByteCount: UInt64, _ header: [UInt8], _ data: [UInt8]) -> [UInt8] {
  withUnsafeBytes(of: headerByteCount.littleEndian, Array.init) + header + data
}

/// The bytes of an array, little-endian as this machine is.
func bytes<Element: BitwiseCopyable>(_ values: [Element]) -> [UInt8] {
  values.withUnsafeBytes { Array($0) }
}
