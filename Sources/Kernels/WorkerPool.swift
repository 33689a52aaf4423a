import CIntrinsics
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Threads that split one operation at a time among themselves.
///
/// An operation is cut into tasks that depend on the operation's shape alone, never on the number of
/// threads; which thread runs a task cannot change a bit of the result. Between two operations the
/// workers spin, because a fork through the kernel costs more than a small operation; after a pause
/// they sleep until the next one.
///
/// A pool is the only owner of threads in the process: OpenBLAS is held to one thread per caller.
public final class WorkerPool: Sendable {
  /// Threads that take part, the caller's included.
  public let threadCount: Int

  private let operation: SharedOperation
  private let threads: [Thread]

  #if canImport(Glibc)
    private typealias Thread = pthread_t
  #else
    private struct Thread: @unchecked Sendable { let handle: pthread_t }  // Safe: only joined.
  #endif

  private static let maximumTasks = 60_000

  /// Starts `threadCount − 1` workers.
  /// - Precondition: `threadCount ≥ 1`.
  public init(threadCount: Int) {
    precondition(threadCount >= 1, "a pool of \(threadCount) threads")
    BLAS.endThreadsOfItsOwn()
    let operation = SharedOperation()
    var threads: [Thread] = []
    for _ in 1..<threadCount {
      // The worker owns a reference to the operation, not to the pool: the pool's `deinit` ends it.
      let context = Unmanaged.passRetained(operation)
      #if canImport(Glibc)
        var thread = pthread_t()
        let status = pthread_create(&thread, nil, { workerMain($0!) }, context.toOpaque())
      #else
        var thread: pthread_t?
        let status = pthread_create(&thread, nil, { workerMain($0) }, context.toOpaque())
      #endif
      // A system without a free thread still computes, with fewer.
      guard status == 0 else {
        context.release()
        break
      }
      #if canImport(Glibc)
        threads.append(thread)
      #else
        threads.append(Thread(handle: thread!))
      #endif
    }
    self.operation = operation
    self.threads = threads
    self.threadCount = threads.count + 1
  }

  deinit {
    operation.stop()
    for thread in threads {
      #if canImport(Glibc)
        pthread_join(thread, nil)
      #else
        pthread_join(thread.handle, nil)
      #endif
    }
  }

  /// Runs `body(0)` … `body(count − 1)`, in any order and at the same time, and returns when all are done.
  ///
  /// A call from within a task, or while another thread's operation is running, runs on the calling
  /// thread alone.
  ///
  /// - Precondition: `count ≤ 60000`.
  public func run(_ count: Int, _ body: (Int) -> Void) {
    precondition(count <= WorkerPool.maximumTasks, "\(count) tasks in one operation")
    if count > 1, !threads.isEmpty, operation.run(count, body) { return }
    for index in 0..<max(count, 0) { body(index) }
  }

  /// Cuts `0..<count` into ranges of at least `grain` elements and runs them.
  public func run(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    let tasks = min((count + grain - 1) / max(grain, 1), 4 * threadCount)
    guard tasks > 1 else {
      if count > 0 { body(0..<count) }
      return
    }
    run(tasks) { task in body(count * task / tasks..<count * (task + 1) / tasks) }
  }
}

extension WorkerPool {
  /// Cuts `0..<count` into ranges that grow shorter and runs them.
  ///
  /// The first half goes in one long range per thread, half of the rest in the next, down to single elements. Long ranges are
  /// read at the speed of memory and claimed seldom; with the short ones threads of unequal speed end together.
  public func runShrinking(_ count: Int, _ body: (Range<Int>) -> Void) {
    guard threadCount > 1, count > 1 else {
      if count > 0 { body(0..<count) }
      return
    }
    let threads = threadCount
    /// Elements of a range while so many are left.
    func length(_ rest: Int) -> Int { max(1, (rest + 2 * threads - 1) / (2 * threads)) }
    var (tasks, rest) = (0, count)
    while rest > 0 {
      tasks += min(threads, (rest + length(rest) - 1) / length(rest))
      rest -= threads * length(rest)
    }
    run(tasks) { task in
      var (rest, before) = (count, task)
      while before >= threads {
        rest -= threads * length(rest)
        before -= threads
      }
      let start = count - rest + before * length(rest)
      body(start..<min(start + length(rest), count))
    }
  }
}

private func workerMain(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  Unmanaged<SharedOperation>.fromOpaque(context).takeRetainedValue().work()
  return nil
}

/// The operation in hand, as the caller and the workers see it.
private final class SharedOperation: @unchecked Sendable {
  // Safe: `job` and `epoch` are written only by the caller that holds `busy`, before `ticket` is released
  // to the workers, and `job` is read only by threads that hold a task of that ticket; the rest is atomic.

  /// One operation's tasks: epoch (32 bits), count (16), next task (16).
  ///
  /// Claiming is a single addition, so a worker that comes late either gets a task of the operation in
  /// hand or sees that none is left; it can never touch an operation that has ended.
  private let ticket = Atomic<UInt64>(0)
  private let completed = Atomic<Int>(0)
  private let busy = Atomic<Bool>(false)
  private let sleeping = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private var job: ((Int) -> Void)?
  private var epoch: UInt64 = 0
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  /// Spins before a worker sleeps: some hundreds of microseconds, more than the serial stretches of a token.
  private static let spinLimit = 20_000

  init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(wake)
    mutex.deallocate()
    wake.deallocate()
  }

  /// Runs the tasks with the workers; false when another operation has them.
  func run(_ count: Int, _ body: (Int) -> Void) -> Bool {
    guard busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
      return false
    }
    withoutActuallyEscaping(body) { body in
      job = body
      epoch &+= 1
      completed.store(0, ordering: .relaxed)
      ticket.store((epoch & 0xFFFF_FFFF) << 32 | UInt64(count) << 16, ordering: .sequentiallyConsistent)
      if sleeping.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
      takeTasks()
      while completed.load(ordering: .acquiring) < count { ink_spin_pause() }
      job = nil
    }
    busy.store(false, ordering: .releasing)
    return true
  }

  func stop() {
    stopping.store(true, ordering: .sequentiallyConsistent)
    wakeAll()
  }

  private func wakeAll() {
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
  }

  /// Claims and runs tasks until none is left.
  private func takeTasks() {
    while true {
      // A thread claims in vain at most twice per operation, so the task field cannot carry into the count.
      let claimed = ticket.add(1, ordering: .acquiringAndReleasing).oldValue
      let index = Int(claimed & 0xFFFF)
      guard index < Int(claimed >> 16 & 0xFFFF) else { return }
      job!(index)
      completed.add(1, ordering: .releasing)
    }
  }

  func work() {
    var seen: UInt64 = 0
    var spins = 0
    while !stopping.load(ordering: .relaxed) {
      let now = ticket.load(ordering: .acquiring) >> 32
      if now != seen {
        seen = now
        spins = 0
        takeTasks()
        continue
      }
      spins += 1
      if spins < SharedOperation.spinLimit {
        ink_spin_pause()
        continue
      }
      pthread_mutex_lock(mutex)
      sleeping.add(1, ordering: .sequentiallyConsistent)
      while ticket.load(ordering: .sequentiallyConsistent) >> 32 == seen,
        !stopping.load(ordering: .sequentiallyConsistent)
      {
        pthread_cond_wait(wake, mutex)
      }
      sleeping.subtract(1, ordering: .sequentiallyConsistent)
      pthread_mutex_unlock(mutex)
      spins = 0
    }
  }
}

extension WorkerPool {
  /// Threads worth using: physical cores within the process's affinity and control-group quota.
  public static func defaultThreadCount() -> Int {
    #if os(Linux)
      // Room for 8192 CPUs, the most that Linux is built for.
      var mask = [UInt8](repeating: 0, count: 1024)
      let written = ink_processor_affinity(&mask, mask.count)
      let allowed = (0..<written * 8).filter { mask[$0 / 8] >> ($0 % 8) & 1 == 1 }
      // Two hardware threads of one core share its vector units: a GEMM gains nothing from the second.
      let cores = Set(
        allowed.map { cpu in
          firstLine(of: "/sys/devices/system/cpu/cpu\(cpu)/topology/thread_siblings_list") ?? "\(cpu)"
        })
      return max(1, min(cores.count, controlGroupQuota() ?? .max))
    #else
      return max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    #endif
  }

  #if os(Linux)
    /// The control group's share of the CPUs, rounded up; `nil` when there is no limit.
    private static func controlGroupQuota() -> Int? {
      if let fields = firstLine(of: "/sys/fs/cgroup/cpu.max")?.split(separator: " "), fields.count == 2,
        let quota = Double(fields[0]), let period = Double(fields[1]), period > 0
      {
        return max(1, Int((quota / period).rounded(.up)))
      }
      if let quota = firstLine(of: "/sys/fs/cgroup/cpu/cpu.cfs_quota_us").flatMap(Double.init), quota > 0,
        let period = firstLine(of: "/sys/fs/cgroup/cpu/cpu.cfs_period_us").flatMap(Double.init), period > 0
      {
        return max(1, Int((quota / period).rounded(.up)))
      }
      return nil
    }

    private static func firstLine(of path: String) -> String? {
      guard let file = fopen(path, "r") else { return nil }
      defer { fclose(file) }
      var buffer = [CChar](repeating: 0, count: 256)
      guard fgets(&buffer, Int32(buffer.count), file) != nil else { return nil }
      let bytes = buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
      return String(decoding: bytes, as: UTF8.self)
    }
  #endif
}
