import ArgumentParser
import Inkstone

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Ctrl-C as a wish to stop: what there is gets printed, then the program ends with 130.
enum Interruption {
  /// Raised by SIGINT and SIGTERM.
  static let flag = InterruptionFlag()

  /// Catches the first signal; a second one ends the program at once.
  static func install() {
    // Made before a handler can run: a lazy global must not be initialised inside one.
    _ = flag
    // A parent that starts programs from threads of its own may hand on a mask that blocks signals.
    var mask = sigset_t()
    sigemptyset(&mask)
    for number in [SIGINT, SIGTERM] { sigaddset(&mask, number) }
    pthread_sigmask(SIG_UNBLOCK, &mask, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        Interruption.flag.raise()
        signal(number, SIG_DFL)
      }
    }
  }

  /// Lets signals end the program again, as long as there is nothing to stop.
  static func uninstall() {
    for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
  }

  /// Catches every signal as the wish to stop what is being done, and not the program.
  static func installForConversation() {
    _ = flag
    var mask = sigset_t()
    sigemptyset(&mask)
    sigaddset(&mask, SIGINT)
    pthread_sigmask(SIG_UNBLOCK, &mask, nil)
    signal(SIGINT) { _ in Interruption.flag.raise() }
  }

  /// Ends a long job that was interrupted; its output is not written.
  static func check(_ progress: inout ProgressLine) throws {
    guard flag.isRaised else { return }
    progress.clear()
    throw ExitCode(exitStatus)
  }

  /// The exit status after an interruption.
  static let exitStatus: Int32 = 130
}
