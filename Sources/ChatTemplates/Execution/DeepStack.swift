#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Runs what calls itself on a stack of known size.
///
/// Reading and running templates are recursive. How deep is bounded, but a caller's stack may be a quarter of what
/// that takes: threads of a pool have half a megabyte on some systems.
enum DeepStack {
  /// Enough for `TemplateLimits.maximumDepth` in an unoptimised build; pages that are not touched cost nothing.
  private static let size = 256 << 20

  private final class Task {
    let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }
  }

  /// Runs a body on a thread of its own and waits for it.
  ///
  /// - Throws: what the body throws; `TemplateError.limit` if there is no thread to be had.
  static func run<Result>(_ body: () throws -> Result) throws -> Result {
    var result: Swift.Result<Result, any Error>?
    try withoutActuallyEscaping(body) { body in
      try runAndWait { result = Swift.Result { try body() } }
    }
    guard let result else { throw TemplateError(.limit, "the template was not run") }
    return try result.get()
  }

  private static func runAndWait(_ body: () -> Void) throws {
    try withoutActuallyEscaping(body) { body in
      var attributes = pthread_attr_t()
      pthread_attr_init(&attributes)
      defer { pthread_attr_destroy(&attributes) }
      pthread_attr_setstacksize(&attributes, size)
      let task = Unmanaged.passRetained(Task(body))
      #if canImport(Darwin)
        var thread: pthread_t?
        let code = pthread_create(&thread, &attributes, { DeepStack.main($0) }, task.toOpaque())
      #else
        var thread = pthread_t()
        let code = pthread_create(&thread, &attributes, { DeepStack.main($0!) }, task.toOpaque())
      #endif
      guard code == 0 else {
        task.release()
        throw TemplateError(
          .limit, "no thread to run the template on: \(String(cString: strerror(code)))")
      }
      #if canImport(Darwin)
        pthread_join(thread!, nil)
      #else
        pthread_join(thread, nil)
      #endif
    }
  }

  private static func main(_ pointer: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    // Safe: `runAndWait` passed the task, and waits until this returns.
    Unmanaged<Task>.fromOpaque(pointer).takeRetainedValue().body()
    return nil
  }
}
