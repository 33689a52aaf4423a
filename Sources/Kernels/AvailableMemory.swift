#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Bytes that the process can allocate without swapping: the system's estimate, within the control group's limit and the
/// process's own.
///
/// - Returns: nothing where the system does not say.
public func availableMemory() -> Int? {
  #if os(Linux)
    func kibibytes(_ key: String, in path: String) -> Int? {
      let line = readText(path).split(separator: "\n").first { $0.hasPrefix(key) }
      return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
    var available = kibibytes("MemAvailable:", in: "/proc/meminfo").map { $0 * 1024 }
    func number(_ path: String) -> Int? { Int(readText(path).filter { $0 != "\n" }) }
    if let limit = number("/sys/fs/cgroup/memory.max"), let used = number("/sys/fs/cgroup/memory.current") {
      available = min(available ?? .max, max(0, limit - used))
    }
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0,
      let bytes = Int(exactly: limit.rlim_cur), let used = kibibytes("VmData:", in: "/proc/self/status")
    {
      available = min(available ?? .max, max(0, bytes - used * 1024))
    }
    return available
  #else
    let (pages, size) = (sysconf(_SC_PHYS_PAGES), sysconf(_SC_PAGESIZE))
    return pages > 0 && size > 0 ? pages * size : nil
  #endif
}

#if os(Linux)
  /// A short file of the kernel's; empty when it cannot be read.
  private func readText(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = fread(&buffer, 1, buffer.count, file)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
#endif
